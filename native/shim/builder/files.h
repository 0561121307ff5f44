#pragma once

#include <string>

namespace gpushim {

// The whole file. Throws Failure(failed) and says why.
std::string readFile(const std::string& path);
// Empty where there is no such file.
std::string readFileIfThere(const std::string& path);
// The file is on disk when this returns.
void writeFile(const std::string& path, const std::string& bytes);
// Others see the old file or the whole new one, also after a crash.
void replaceFile(const std::string& path, const std::string& bytes);

}  // namespace gpushim
