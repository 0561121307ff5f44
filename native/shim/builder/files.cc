#include "files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "../driver.h"

namespace gpushim {

namespace {

[[noreturn]] void fail(const std::string& what, const std::string& path) {
  throw Failure(Code::failed, what + " " + path + ": " + std::strerror(errno));
}

class File {
 public:
  File(const std::string& path) : path_(path), fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail("create", path);
  }
  File(const File&) = delete;
  ~File() { close(fd_); }

  void write(const std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("write", path_);
      done += std::size_t(n);
    }
    if (fsync(fd_) != 0) fail("write", path_);
  }

 private:
  const std::string path_;
  const int fd_;
};

}  // namespace

std::string readFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail("read", path);
  std::string bytes((std::istreambuf_iterator<char>(file)), {});
  if (file.bad()) fail("read", path);
  return bytes;
}

std::string readFileIfThere(const std::string& path) {
  return !path.empty() && access(path.c_str(), F_OK) == 0 ? readFile(path) : std::string();
}

void writeFile(const std::string& path, const std::string& bytes) { File(path).write(bytes); }

void replaceFile(const std::string& path, const std::string& bytes) {
  const std::string part = path + "." + std::to_string(getpid()) + ".tmp";
  try {
    writeFile(part, bytes);
    if (std::rename(part.c_str(), path.c_str()) != 0) fail("replace", path);
  } catch (const Failure&) {
    (void)std::remove(part.c_str());
    throw;
  }
}

}  // namespace gpushim
