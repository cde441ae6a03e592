// GoogleTest behind a C face; see shim.h.
#include "tests/shim/shim.h"

#include <gtest/gtest.h>

#include <cstdarg>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

std::string g_temp_dir;

std::string Format(const char *format, va_list args) {
  char text[4096];
  vsnprintf(text, sizeof text, format, args);
  return text;
}

class CTest : public testing::Test {
public:
  CTest(void (*func)(size_t), size_t row) : func_(func), row_(row) {}
  void TestBody() override { func_(row_); }
  void TearDown() override {
    if (!g_temp_dir.empty() && !HasFailure()) {
      std::error_code ignored;
      std::filesystem::remove_all(g_temp_dir, ignored);
    }
    g_temp_dir.clear();
  }

private:
  void (*func_)(size_t);
  size_t row_;
};

std::string Quote(const char *text) {
  return text ? "\"" + std::string(text) + "\"" : "NULL";
}

} // namespace

extern "C" {

void shim_register(const char *suite, const char *name, const char *file, int line, void (*func)(size_t), size_t row) {
  std::string plain; // GoogleTest wants names of letters, digits and underscores
  for (const char *c = name; *c; c++)
    plain += isalnum(static_cast<unsigned char>(*c)) ? *c : '_';
  testing::RegisterTest(suite, plain.c_str(), nullptr, nullptr, file, line,
                        [=]() -> testing::Test * { return new CTest(func, row); });
}

void shim_fail(const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  std::string text = Format(format, args);
  va_end(args);
  GTEST_MESSAGE_AT_(file, line, text.c_str(), testing::TestPartResult::kNonFatalFailure);
}

void shim_skip(const char *file, int line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  std::string text = Format(format, args);
  va_end(args);
  GTEST_MESSAGE_AT_(file, line, text.c_str(), testing::TestPartResult::kSkip);
}

bool shim_test_has_failed(void) {
  return testing::Test::HasFailure();
}

const char *shim_temp_dir(void) {
  if (g_temp_dir.empty()) {
    const char *base = getenv("TEST_TMPDIR");
    std::string path = std::string(base ? base : "/tmp") + "/milena-test-XXXXXX";
    g_temp_dir = mkdtemp(path.data()) ? path : std::string();
  }
  return g_temp_dir.c_str();
}

const char *shim_source_path(const char *relative) {
  static std::string path;
  const char *srcdir = getenv("TEST_SRCDIR"), *workspace = getenv("TEST_WORKSPACE");
  path = srcdir && workspace ? std::string(srcdir) + "/" + workspace + "/" + relative : relative;
  return path.c_str();
}

bool shim_eq_int(const char *file, int line, const char *want_text, const char *got_text, int64_t want, int64_t got) {
  if (want != got)
    shim_fail(file, line, "%s is %lld, want %s which is %lld", got_text, static_cast<long long>(got), want_text,
              static_cast<long long>(want));
  return want == got;
}

bool shim_eq_str(const char *file, int line, const char *want_text, const char *got_text, const char *want,
                 const char *got) {
  bool same = want == got || (want && got && std::string(want) == got);
  if (!same)
    shim_fail(file, line, "%s is\n  %s\nwant %s which is\n  %s", got_text, Quote(got).c_str(), want_text,
              Quote(want).c_str());
  return same;
}

bool shim_eq_bytes(const char *file, int line, const char *got_text, const void *want, size_t want_len, const void *got,
                   size_t got_len) {
  auto hex = [](const void *data, size_t len) {
    std::string text;
    char byte[4];
    for (size_t i = 0; i < len; i++) {
      snprintf(byte, sizeof byte, "%02x ", static_cast<const unsigned char *>(data)[i]);
      text += byte;
    }
    return text;
  };
  std::string want_hex = hex(want, want_len), got_hex = hex(got, got_len);
  if (want_hex != got_hex)
    shim_fail(file, line, "%s is\n  %s\nwant\n  %s", got_text, got_hex.c_str(), want_hex.c_str());
  return want_hex == got_hex;
}

bool shim_true(const char *file, int line, const char *text, bool got) {
  if (!got)
    shim_fail(file, line, "does not hold: %s", text);
  return got;
}

bool shim_contains(const char *file, int line, const char *text, const char *haystack, const char *needle) {
  bool found = haystack && needle && std::string(haystack).find(needle) != std::string::npos;
  if (!found)
    shim_fail(file, line, "%s is\n  %s\nwhich does not contain %s", text, Quote(haystack).c_str(),
              Quote(needle).c_str());
  return found;
}

} // extern "C"

int main(int argc, char **argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
