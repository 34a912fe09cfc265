// Rounding with error feedback: columns are rounded one after the other, and what one column's rounding does to the
// output is made up for by those after it, as the second moments of the input say (Frantar et al., GPTQ, arXiv
// 2210.17323), inside the unchanged block formats: a block's scales are searched when its first column is reached, from
// the values corrected so far. Used for a tensor only where rows that the fit has not seen say that it helps.
// encode() may be called from many threads at once.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "convert/calibration.h"
#include "convert/model_writer.h"

namespace sterna {

class FeedbackEncoder : public RowEncoder {
public:
    // Both outlive the encoder.
    FeedbackEncoder(const ModelSource& source, const Calibration& calibration)
        : source_(source), calibration_(calibration) {}

    bool handles(const SourceTensor& tensor, DType type) const override;
    void encode(const SourceTensor& tensor, DType type, int64_t first, int64_t n, std::span<const float> from,
                std::span<uint8_t> to) const override;
    std::string identity() const override;

    // The mean square error of the outputs on held-out inputs, over some rows, relative to the outputs themselves.
    struct Verdict {
        double plain = 0.0, feedback = 0.0;
        bool used() const { return feedback < plain; }
    };
    // What was decided of the tensors encoded so far.
    const std::map<std::string, Verdict>& verdicts() const { return verdicts_; }

private:
    struct Factor {
        const Moments* moments = nullptr;
        std::vector<float> upper;  // per group: the rows of the Cholesky factor of the inverse, divided by the diagonal
        std::vector<float> importance;  // mean squares per column
    };
    std::shared_ptr<const Factor> factor_of(const Moments& moments) const;
    void encode_rows(const Factor& factor, DType type, int64_t n, const float* from, uint8_t* to) const;
    Verdict judge(const SourceTensor& tensor, DType type, const Factor& factor) const;

    const ModelSource& source_;
    const Calibration& calibration_;
    // Of the tensor being written, and the inputs last used: neighbours share them.
    mutable std::mutex mutex_;
    mutable const SourceTensor* tensor_ = nullptr;
    mutable DType type_ = DType::kF32;
    mutable bool use_ = false;
    mutable std::shared_ptr<const Factor> factor_;
    mutable std::map<std::string, Verdict> verdicts_;
};

// Mean over rows of e' M e for errors e [n_rows][n_columns], group by group.
double moment_error(const Moments& moments, const std::vector<float>& set, double n, const float* errors,
                    int64_t n_rows);

}  // namespace sterna
