#include "convert/checkpoint.h"

namespace sterna {

int64_t CheckpointTensor::n_elements() const {
    int64_t n = 1;
    for (int64_t extent : shape) n *= extent;
    return n;
}

}  // namespace sterna
