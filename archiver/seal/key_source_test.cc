#include "archiver/seal/key_source.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "archiver/base/limits.h"
#include "archiver/seal/secret.h"

namespace diptych::seal {
namespace {

using testing::HasSubstr;
using testing::Not;

class KeySourceTest : public testing::Test {
 protected:
  KeySourceTest()
      : folder_(
            absl::StrCat(testing::TempDir(), "/key_source_test.", getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~KeySourceTest() override { std::filesystem::remove_all(folder_); }

  std::string Write(const std::string& name, const std::string& content,
                    mode_t mode = 0600) {
    const std::string path = absl::StrCat(folder_, "/", name);
    std::ofstream(path, std::ios::binary) << content;
    chmod(path.c_str(), mode);
    return path;
  }

  static absl::StatusOr<std::string> Read(const std::string& text,
                                          size_t max_bytes = 1000) {
    const auto source = KeySource::Parse(text);
    if (!source.ok()) return source.status();
    const auto secret = source->Read(max_bytes);
    if (!secret.ok()) return secret.status();
    return std::string(secret->view());
  }

  const std::string folder_;
};

TEST_F(KeySourceTest, KnowsFourKinds) {
  for (const char* text :
       {"", "index.key", "file:", "fd:", "fd:x", "fd:-1", "fd:0", "fd:2",
        "credential:", "credential:../x", "credential:a/b",
        "command:", "Command:true", "http://x"}) {
    EXPECT_EQ(KeySource::Parse(text).status().code(),
              absl::StatusCode::kInvalidArgument)
        << text;
  }
  EXPECT_EQ(KeySource::Parse("fd:7")->fd(), 7);
  EXPECT_EQ(KeySource::Parse("file:a:b")->Name(), "file:a:b");
  EXPECT_THAT(KeySource::Parse("command:echo hush")->Name(),
              Not(HasSubstr("hush")));
}

TEST_F(KeySourceTest, Files) {
  EXPECT_EQ(*Read(absl::StrCat("file:", Write("a", "secret\n"))), "secret\n");
  EXPECT_EQ(Read(absl::StrCat("file:", Write("open", "secret", 0640)))
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
  const absl::Status absent =
      Read(absl::StrCat("file:", folder_, "/absent")).status();
  EXPECT_EQ(absent.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(absent.message()), HasSubstr("absent"));
  EXPECT_EQ(Read(absl::StrCat("file:", Write("long", std::string(11, 'x'))), 10)
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(KeySourceTest, OpenFilesGiveTheirSecretOnce) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([&] {
    for (const char* part : {"a ", "slow ", "secret"}) {
      ASSERT_GT(write(ends[1], part, strlen(part)), 0);
    }
    close(ends[1]);
  });
  const std::string text = absl::StrCat("fd:", ends[0]);
  EXPECT_EQ(*Read(text), "a slow secret");
  writer.join();
  EXPECT_LT(fcntl(ends[0], F_GETFD), 0);
  const absl::Status again = Read(text).status();
  EXPECT_FALSE(again.ok());
  EXPECT_THAT(std::string(again.message()), HasSubstr(text));
}

TEST_F(KeySourceTest, FatesOfOpenFiles) {
  const int fd = open(Write("f", "secret").c_str(), O_RDONLY);
  ASSERT_GT(fd, 2);
  const std::vector<KeySource> sources = {
      *KeySource::Parse(absl::StrCat("fd:", fd)),
      *KeySource::Parse("command:true")};
  ASSERT_TRUE(SettleFds(sources, FdFate::kKeep).ok());
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  ASSERT_TRUE(SettleFds(sources, FdFate::kPassOn).ok());
  EXPECT_EQ(fcntl(fd, F_GETFD), 0);
  ASSERT_TRUE(SettleFds(sources, FdFate::kClose).ok());
  EXPECT_LT(fcntl(fd, F_GETFD), 0);
  const absl::Status gone = SettleFds(sources, FdFate::kPassOn);
  EXPECT_EQ(gone.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(gone.message()), HasSubstr(absl::StrCat("fd:", fd)));
}

TEST_F(KeySourceTest, Credentials) {
  unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_EQ(Read("credential:index").status().code(),
            absl::StatusCode::kFailedPrecondition);
  // As systemd hands them out, with an access control list.
  Write("index", "secret", 0440);
  setenv("CREDENTIALS_DIRECTORY", folder_.c_str(), 1);
  EXPECT_EQ(*Read("credential:index"), "secret");
  EXPECT_EQ(Read("credential:other").status().code(),
            absl::StatusCode::kNotFound);
  unsetenv("CREDENTIALS_DIRECTORY");
}

TEST_F(KeySourceTest, Commands) {
  EXPECT_EQ(*Read("command:printf 'a\\nb'"), "a\nb");
  // The shell's own words work, and there is nothing on standard input.
  EXPECT_EQ(*Read("command:cat; echo \"$((1 + 1))\" | tr 2 3"), "3\n");
  const absl::Status failed =
      Read("command:echo half-a-secret; exit 3").status();
  EXPECT_EQ(failed.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(failed.message()), HasSubstr("exit code 3"));
  EXPECT_THAT(std::string(failed.message()), Not(HasSubstr("half-a-secret")));
  EXPECT_THAT(std::string(Read("command:kill -9 $$").status().message()),
              HasSubstr("signal 9"));
  EXPECT_EQ(Read("command:head -c 100 /dev/zero", 10).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_F(KeySourceTest, ACommandGetsNoneOfOurOpenFilesAndPlainSignals) {
  const int fd = open(Write("f", "ours").c_str(), O_RDONLY);
  ASSERT_GT(fd, 2);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  EXPECT_EQ(*Read("command:ls /proc/self/fd | tr '\\n' ' '"), "0 1 2 3 ");
  EXPECT_THAT(*Read("command:grep SigBlk /proc/self/status"),
              HasSubstr("0000000000000000"));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(fd);
}

TEST_F(KeySourceTest, ACommandThatHangsIsEndedWithAllThatItStarted) {
  const std::string pid_file = absl::StrCat(folder_, "/pid");
  const auto source = KeySource::Parse(
      absl::StrCat("command:sleep 600 & echo $! > ", pid_file, "; wait"));
  const absl::Time began = absl::Now();
  EXPECT_EQ(source->Read(100, absl::Milliseconds(500)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_LT(absl::Now() - began, absl::Seconds(30));
  int pid = 0;
  std::ifstream(pid_file) >> pid;
  ASSERT_GT(pid, 0);
  // Killed; whoever took it over may not have waited for it yet.
  const auto lives = [pid] {
    std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
    std::string line;
    std::getline(stat, line);
    return !line.empty() && line.find(") Z") == std::string::npos;
  };
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (lives() && absl::Now() < deadline) std::this_thread::yield();
  EXPECT_FALSE(lives());
}

TEST_F(KeySourceTest, ACommandThatClosedItsOutputAndHangsIsEndedToo) {
  const auto source = KeySource::Parse("command:printf x; exec >&- sleep 600");
  EXPECT_EQ(source->Read(100, absl::Milliseconds(500)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(KeySourceTest, PassphrasesAreTheFirstLine) {
  const auto read = [&](const std::string& content) {
    const std::string path = Write("p", content);
    const auto secret = ReadPassphraseFile(path);
    const auto same =
        ReadPassphrase(*KeySource::Parse(absl::StrCat("file:", path)));
    EXPECT_EQ(secret.status(), same.ok() ? absl::OkStatus() : secret.status());
    return secret.ok() ? std::string(secret->view()) : std::string("-");
  };
  EXPECT_EQ(read("open sesame"), "open sesame");
  EXPECT_EQ(read("open sesame\r\nand more"), "open sesame");
  EXPECT_EQ(read("\nopen"), "-");
  EXPECT_EQ(read(""), "-");
  EXPECT_EQ(read(std::string(limits::kMaxPassphrase_bytes, 'x') + "\n"),
            std::string(limits::kMaxPassphrase_bytes, 'x'));
  EXPECT_EQ(read(std::string(limits::kMaxPassphrase_bytes + 1, 'x')), "-");
}

}  // namespace
}  // namespace diptych::seal
