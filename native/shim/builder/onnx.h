// As much of an ONNX file as the double's builder can make a plan of.
#pragma once

#include <string>
#include <vector>

namespace gpushim {

// The factors of a model that multiplies "input" of shape [-1, N] by a constant of
// shape [N] into "output", all FP32. Throws Failure(badModel) for any other model
// and for what is no ONNX file.
std::vector<float> scaleFactors(const std::string& file);

}  // namespace gpushim
