// Training and held-out loss over the steps, as an SVG picture. A pure function of the log.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sterna::train {

struct LossPoint {
    double step, loss;
};

struct LossCurves {
    std::string title;
    std::vector<LossPoint> training, held_out;
};

// The columns "step", "loss" and "held_out_loss" of log.csv; a line that is not whole is left out.
LossCurves read_log(std::string_view csv);

std::string plot_losses(const LossCurves& curves);

}  // namespace sterna::train
