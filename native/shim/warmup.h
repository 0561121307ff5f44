// The first run of a program that was just made.
#pragma once

#include "device.h"

namespace gpushim {

// warmUp runs the program once, on zeros of the largest shapes: the driver loads a
// kernel's code at its first launch, so what a model leaves on the device is known
// only then. Where there is no memory for that, it does nothing: the first run
// takes longer then, and what it leaves is not counted. Throws Failure where the
// program does not run. building() of the device is held.
void warmUp(Device& device, Program& program);

}  // namespace gpushim
