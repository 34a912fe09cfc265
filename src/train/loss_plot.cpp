#include "train/loss_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

namespace sterna::train {

namespace {

constexpr double kWidth = 860, kHeight = 480, kLeft = 70, kRight = 20, kTop = 44, kBottom = 52;
constexpr size_t kMaxPoints = 600;  // more would not be seen

// 1, 2 or 5 times a power of ten, so that about `n` marks stand on the axis.
double round_step(double range, int n) {
    const double raw = range / n, power = std::pow(10.0, std::floor(std::log10(raw)));
    for (double factor : {1.0, 2.0, 5.0})
        if (factor * power >= raw) return factor * power;
    return 10.0 * power;
}

std::string label(double value) {
    if (value >= 1e6) return fmt::format("{:g}M", value / 1e6);
    if (value >= 1e4) return fmt::format("{:g}k", value / 1e3);
    return fmt::format("{:g}", value);
}

// Means of equally many neighbours.
std::vector<LossPoint> thinned(const std::vector<LossPoint>& points) {
    if (points.size() <= kMaxPoints) return points;
    std::vector<LossPoint> result;
    for (size_t i = 0; i < kMaxPoints; ++i) {
        const size_t begin = i * points.size() / kMaxPoints, end = (i + 1) * points.size() / kMaxPoints;
        LossPoint mean{0, 0};
        for (size_t k = begin; k < end; ++k) {
            mean.step += points[k].step / double(end - begin);
            mean.loss += points[k].loss / double(end - begin);
        }
        result.push_back(mean);
    }
    return result;
}

// The mean of the neighbours on both sides, a thirtieth of the picture wide.
std::vector<LossPoint> smoothed(const std::vector<LossPoint>& points) {
    std::vector<LossPoint> result;
    const size_t reach = points.size() / 60;
    for (size_t i = 0; i < points.size(); ++i) {
        const size_t near = std::min({reach, i, points.size() - 1 - i});
        double sum = 0;
        for (size_t k = i - near; k <= i + near; ++k) sum += points[k].loss;
        result.push_back({points[i].step, sum / double(2 * near + 1)});
    }
    return result;
}

std::string escaped(std::string_view text) {
    std::string out;
    for (char c : text) {
        if (c == '<')
            out += "&lt;";
        else if (c == '&')
            out += "&amp;";
        else
            out += c;
    }
    return out;
}

struct Frame {
    double steps = 1, low = 0, high = 1, y_step = 0.2;
    double x(double step) const { return kLeft + (kWidth - kLeft - kRight) * step / steps; }
    double y(double loss) const {
        return kTop + (kHeight - kTop - kBottom) * (high - std::clamp(loss, low, high)) / (high - low);
    }
};

Frame frame_of(const std::vector<LossPoint>& training, const std::vector<LossPoint>& held_out) {
    Frame frame;
    double low = 1e30, high = -1e30;
    for (const auto* list : {&training, &held_out})
        for (const LossPoint& point : *list) {
            frame.steps = std::max(frame.steps, point.step);
            low = std::min(low, point.loss);
            high = std::max(high, point.loss);
        }
    if (low > high) return frame;
    const double step = frame.y_step = round_step(std::max(high - low, 1e-3), 7);
    frame.low = std::floor(low / step) * step;
    frame.high = std::ceil(high / step) * step;
    if (frame.high <= frame.low) frame.high = frame.low + step;
    return frame;
}

void axes(std::string& svg, const Frame& frame) {
    auto text = [&](double x, double y, const char* anchor, const std::string& what) {
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor, what);
    };
    const double bottom = kHeight - kBottom;
    const double x_step = std::max(1.0, round_step(frame.steps, 8));
    for (int i = 0; i <= 20; ++i) {
        const double value = frame.low + i * frame.y_step;
        if (value > frame.high + frame.y_step * 1e-6) break;
        svg +=
            fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\" class=\"grid\"/>\n", kLeft, frame.y(value), kWidth - kRight);
        text(kLeft - 8, frame.y(value) + 4, "end", fmt::format("{:g}", std::round(value * 1e6) / 1e6));
    }
    for (int i = 0; i <= 20; ++i) {
        const double value = i * x_step;
        if (value > frame.steps * (1 + 1e-9)) break;
        svg += fmt::format("<path d=\"M{:.1f} {:.1f}v6\" class=\"axis\"/>\n", frame.x(value), bottom);
        text(frame.x(value), bottom + 20, "middle", label(value));
    }
    svg += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\" class=\"axis\"/>\n", kLeft, kTop, bottom,
                       kWidth - kRight);
    text((kLeft + kWidth - kRight) / 2, kHeight - 12, "middle", "step");
    svg += fmt::format(
        "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">loss (nats per token)</text>\n",
        (kTop + bottom) / 2);
}

void curve(std::string& svg, const Frame& frame, const std::vector<LossPoint>& points, const char* kind) {
    if (points.empty()) return;
    std::string path;
    for (const LossPoint& point : points)
        path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', frame.x(point.step), frame.y(point.loss));
    svg += fmt::format("<path d=\"{}\" class=\"{}\"/>\n", path, kind);
}

}  // namespace

LossCurves read_log(std::string_view csv) {
    LossCurves curves;
    auto cells_of = [](std::string_view line) {
        std::vector<std::string> cells(1);
        for (char c : line)
            if (c == ',')
                cells.emplace_back();
            else
                cells.back() += c;
        return cells;
    };
    size_t step = 0, loss = 0, held_out = 0, n_columns = 0;
    while (csv.find('\n') != csv.npos) {
        const std::string_view line = csv.substr(0, csv.find('\n'));
        csv.remove_prefix(line.size() + 1);
        const std::vector<std::string> cells = cells_of(line);
        if (n_columns == 0) {
            n_columns = cells.size();
            for (size_t i = 0; i < n_columns; ++i) {
                if (cells[i] == "step") step = i;
                if (cells[i] == "loss") loss = i;
                if (cells[i] == "held_out_loss") held_out = i;
            }
            continue;
        }
        if (cells.size() != n_columns) continue;
        const double at = std::strtod(cells[step].c_str(), nullptr), value = std::strtod(cells[loss].c_str(), nullptr);
        if (!cells[loss].empty() && std::isfinite(value)) curves.training.push_back({at, value});
        if (!cells[held_out].empty()) curves.held_out.push_back({at, std::strtod(cells[held_out].c_str(), nullptr)});
    }
    return curves;
}

std::string plot_losses(const LossCurves& curves) {
    const std::vector<LossPoint> training = thinned(curves.training), held_out = thinned(curves.held_out);
    const Frame frame = frame_of(training, held_out);
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" "
        "font-family=\"sans-serif\" font-size=\"13\" fill=\"#333\">\n<style>path{{fill:none}}.grid{{stroke:#e4e4e4}}"
        ".axis{{stroke:#333}}.raw{{stroke:#cfdceb}}.training{{stroke:#2f6db3;stroke-width:2}}.held{{stroke:#c0392b;"
        "stroke-width:2}}</"
        "style>\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        kWidth, kHeight);
    svg += fmt::format("<text x=\"{}\" y=\"24\" font-size=\"16\">{}</text>\n", kLeft, escaped(curves.title));
    axes(svg, frame);
    curve(svg, frame, training, "raw");
    curve(svg, frame, smoothed(training), "training");
    curve(svg, frame, held_out, "held");
    double y = kTop + 8;
    const std::pair<const char*, const char*> names[] = {{"training", "training"}, {"held", "held out"}};
    for (const auto& [kind, name] : names) {
        svg += fmt::format("<path d=\"M{:.0f} {:.0f}h24\" class=\"{}\"/><text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>\n",
                           kWidth - 130, y, kind, kWidth - 100, y + 4, name);
        y += 20;
    }
    return svg + "</svg>\n";
}

}  // namespace sterna::train
