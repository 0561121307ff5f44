// gpushim-build makes a plan of an ONNX file for one device, in a process of its
// own:
//
//	gpushim-build --onnx FILE --out FILE [--precision fp16|fp32] [--batch N]
//	              [--timing-cache FILE] [--workspace BYTES] [--device UUID]
//	              [--until-stdin-ends]
//	gpushim-build --describe [--device UUID]
//
// --batch is the most for models whose first dimension is dynamic. --describe says
// what the plans made here are good for. With --until-stdin-ends the program ends
// when its standard input does, so that it does not outlive who started it.
//
// Standard output is JSON lines:
//
//	{"phase":"parse|build|write"} with "fraction" where it is known
//	{"done":true,"bytes":…,"tensorrt":…,"device":…,"uuid":…,"sm":…,"seconds":…}
//	{"error":…,"code":…}
//
// The exit status is 0, or the code of the error: 2 for wrong arguments (usage), 3
// where a library, the driver or the device is missing (unavailable), 4 for an ONNX
// file that cannot become a plan (bad_model), 5 where device memory does not
// suffice (no_memory), 6 where the device is lost (device_lost), 1 for anything
// else (failed). A file that it did not finish may be left behind under --out.
#include <unistd.h>

#include <chrono>
#include <exception>
#include <new>
#include <thread>

#include "builder.h"
#include "files.h"
#include "json.h"
#include "options.h"

namespace {

using namespace gpushim;

struct Exit {
  int status;
  const char* code;
};

Exit exitOf(Code code) {
  switch (code) {
    case Code::unavailable:
      return {3, "unavailable"};
    case Code::badModel:
      return {4, "bad_model"};
    case Code::noMemory:
      return {5, "no_memory"};
    case Code::lost:
      return {6, "device_lost"};
    default:
      return {1, "failed"};
  }
}

int fail(Exit how, const std::string& why) {
  Json().text("error", why).text("code", how.code).print();
  return how.status;
}

void watchStdin() {
  std::thread([] {
    char buffer[64];
    while (read(STDIN_FILENO, buffer, sizeof buffer) > 0) {
    }
    _exit(1);
  }).detach();
}

void report(const char* phase, double fraction) {
  Json line;
  line.text("phase", phase);
  if (fraction >= 0) line.number("fraction", fraction);
  line.print();
}

Json& put(Json& json, const Description& d) {
  return json.text("tensorrt", d.tensorrt).text("device", d.device).text("uuid", d.uuid).text("sm", d.sm);
}

void run(const Command& command) {
  const auto start = std::chrono::steady_clock::now();
  const std::unique_ptr<PlanBuilder> builder = makePlanBuilder(command.build.device);
  Json last;
  if (command.describe) {
    put(last, builder->describe()).print();
    return;
  }
  const std::string plan = builder->build(command.build, report);
  report("write", -1);
  writeFile(command.build.out, plan);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  last.yes("done").integer("bytes", plan.size());
  put(last, builder->describe()).number("seconds", seconds).print();
}

}  // namespace

int main(int argc, char** argv) {
  Command command;
  try {
    command = parseCommand(argc, argv);
  } catch (const std::invalid_argument& e) {
    return fail({2, "usage"}, e.what());
  }
  if (command.untilStdinEnds) watchStdin();
  try {
    run(command);
    return 0;
  } catch (const Failure& f) {
    return fail(exitOf(f.code), f.what());
  } catch (const std::bad_alloc&) {
    return fail(exitOf(Code::failed), "the machine's memory does not suffice");
  } catch (const std::exception& e) {
    return fail(exitOf(Code::failed), e.what());
  }
}
