#include "model/linear.h"

#include <algorithm>

#include "model/blocks.h"
#include "model/workspace.h"

namespace sterna {

namespace {

using kernels::ActKind;

constexpr int64_t kTaskBytes = 32 << 10;  // of weights, times rows / 8: a task below it costs less than handing it out
// Uneven speeds of cores cost at most one task of a thread's share. Of many rows each task packs the activations anew.
constexpr int64_t kTasksPerThread = 4, kTasksOfFewRows = 16, kFewRows = 8;

struct Quantized {
    kernels::Activations form[3];  // by ActKind

    const kernels::Activations& of(ActKind kind) const { return form[int(kind)]; }
};

Quantized quantize(ForwardContext& c, const Input& input, std::span<const MatmulJob> jobs) {
    bool wanted[3] = {};
    for (const MatmulJob& job : jobs) {
        wanted[int(kernels::act_kind(job.main.matrix->kind()))] = true;
        if (job.second.matrix) wanted[int(kernels::act_kind(job.second.matrix->kind()))] = true;
    }
    auto& b = *c.workspace.buffers;
    const auto& k = c.kernels;
    int64_t n = input.n_cols;
    Quantized result = {};
    result.form[int(ActKind::kF32)] = {input.values, nullptr, nullptr, nullptr, 0, 0};
    result.form[int(ActKind::kQ8_32)] = {input.values, b.q8_32, b.q8_32_scales, b.q8_32_sums, n / 32, n / 32};
    result.form[int(ActKind::kQ8_256)] = {input.values, b.q8_256, b.q8_256_scales, b.q8_256_sums, n / 256, n / 16};
    bool q8_32 = wanted[int(ActKind::kQ8_32)], q8_256 = wanted[int(ActKind::kQ8_256)];
    if (!q8_32 && !q8_256) return result;
    for_rows(c, input.n_rows, n, [&](int64_t row, int) {
        const float* from = input.values + row * n;
        if (q8_32)
            k.quantize_q8_32(from, n, b.q8_32 + row * n, b.q8_32_scales + row * (n / 32),
                             b.q8_32_sums + row * (n / 32));
        if (q8_256)
            k.quantize_q8_256(from, n, b.q8_256 + row * n, b.q8_256_scales + row * (n / 256),
                              b.q8_256_sums + row * (n / 16));
    });
    return result;
}

kernels::Activations from_row(kernels::Activations x, int64_t row, int64_t n_cols) {
    if (x.values) x.values += row * n_cols;
    if (x.q) x.q += row * n_cols;
    if (x.scales) x.scales += row * x.n_scales;
    if (x.sums) x.sums += row * x.n_sums;
    return x;
}

// The part's output rows of panels [begin, end), counted from its first panel.
void multiply(ForwardContext& c, const MatmulJob& job, const MatmulPart& part, const Quantized& x, int64_t begin,
              int64_t end, int worker) {
    const PackedMatrix& matrix = *part.matrix;
    kernels::MatmulArgs args = {};
    args.weights = matrix.data();
    args.panel_bytes = matrix.panel_bytes();
    args.panel_begin = part.first_panel + begin;
    args.panel_end = part.first_panel + end;
    args.n_rows = matrix.n_rows();
    args.n_cols = matrix.n_cols();
    args.x = from_row(x.of(kernels::act_kind(matrix.kind())), job.row_begin, matrix.n_cols());
    args.n_tokens = job.n_rows;
    args.out = part.out;
    args.out_stride = job.out_stride;
    args.scratch = c.workspace.buffers->matmul_scratch + worker * kernels::kMatmulScratchBytes;
    c.kernels.matmul[int(matrix.kind())](args);

    if (part.scale == 1.0f && !part.bias) return;
    int64_t row = args.panel_begin * kernels::kPanelRows;
    int64_t n = std::min(args.panel_end * kernels::kPanelRows, matrix.n_rows()) - row;
    for (int64_t t = 0; t < job.n_rows; ++t) {
        float* out = part.out + t * job.out_stride + row;
        if (part.scale != 1.0f) c.kernels.scale(out, part.scale, n, out);
        if (part.bias) c.kernels.add(out, part.bias + row, n, out);
    }
}

void run_task(ForwardContext& c, const MatmulJob& job, const Quantized& x, int64_t begin, int64_t end, int worker) {
    multiply(c, job, job.main, x, begin, end, worker);
    if (job.second.matrix) multiply(c, job, job.second, x, begin, end, worker);
    if (!job.act) return;
    int64_t row = begin * kernels::kPanelRows;
    int64_t n = std::min(end * kernels::kPanelRows, job.n_out) - row;
    for (int64_t t = 0; t < job.n_rows; ++t)
        activate(c, job.main.out + t * job.out_stride + row,
                 job.second_out ? job.second_out + t * job.out_stride + row : nullptr, n,
                 job.act + t * job.act_stride + row);
}

int64_t cost(const MatmulJob& job) {
    int64_t bytes = job.main.matrix->panel_bytes() + (job.second.matrix ? job.second.matrix->panel_bytes() : 0);
    return bytes * job.n_panels * std::max<int64_t>(1, job.n_rows / 8);
}

void observe(InputObserver& observer, const Input& input, std::span<const MatmulJob> jobs) {
    for (const MatmulJob& job : jobs)
        for (const PackedMatrix* matrix : {job.main.matrix, job.second.matrix})
            if (matrix) observer.see(*matrix, input.values + job.row_begin * input.n_cols, job.n_rows, input.n_cols);
}

}  // namespace

MatmulJob matmul_job(const Linear& linear, const Input& input, float* out, int64_t out_stride) {
    MatmulJob job;
    job.main = {&linear.weight, linear.bias.empty() ? nullptr : linear.bias.data(), linear.scale, 0, out};
    job.n_panels = linear.weight.n_panels();
    job.n_out = linear.weight.n_rows();
    job.out_stride = out_stride;
    job.n_rows = input.n_rows;
    return job;
}

void run_jobs(ForwardContext& c, const Input& input, std::span<const MatmulJob> jobs) {
    if (input.n_rows == 0 || jobs.empty()) return;
    if (c.workspace.observer) [[unlikely]]
        observe(*c.workspace.observer, input, jobs);
    Quantized x = quantize(c, input, jobs);
    int64_t total = 0;
    for (const MatmulJob& job : jobs) total += cost(job);
    const int64_t per_thread = input.n_rows < kFewRows ? kTasksOfFewRows : kTasksPerThread;
    int64_t n_wanted = std::min(total / kTaskBytes, c.pool.size() * per_thread);
    if (c.pool.size() == 1 || n_wanted <= 1) {
        for (const MatmulJob& job : jobs) run_task(c, job, x, 0, job.n_panels, 0);
        return;
    }
    auto& tasks = c.workspace.buffers->tasks;
    tasks.clear();
    for (size_t i = 0; i < jobs.size(); ++i) {
        constexpr int64_t kTogether = kernels::kPanelsTogether;
        const int64_t steps = (jobs[i].n_panels + kTogether - 1) / kTogether;
        int64_t n = std::clamp<int64_t>((n_wanted * cost(jobs[i]) + total / 2) / total, 1, steps);
        for (int64_t part = 0; part < n; ++part)
            tasks.push_back({int32_t(i), int32_t(steps * part / n * kTogether),
                             int32_t(std::min(jobs[i].n_panels, steps * (part + 1) / n * kTogether))});
    }
    c.pool.run_stretches(int(tasks.size()), [&](int index, int worker) {
        const MatmulTask& task = tasks[size_t(index)];
        run_task(c, jobs[size_t(task.job)], x, task.panel_begin, task.panel_end, worker);
    });
}

void linear(ForwardContext& c, const Linear& weights, const Input& input, float* out) {
    MatmulJob job = matmul_job(weights, input, out, weights.weight.n_rows());
    run_jobs(c, input, {&job, 1});
}

}  // namespace sterna
