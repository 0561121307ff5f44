#pragma once

#include "builder.h"

namespace gpushim {

struct Command {
  BuildOptions build;
  bool describe = false;     // say what plans would be good for, and build none
  bool untilStdinEnds = false;  // end when the parent has gone
};

// Throws std::invalid_argument, whose text says what would be right.
Command parseCommand(int argc, const char* const* argv);

}  // namespace gpushim
