// The locales that a program may set, for tests of texts that must not depend on them.
#pragma once

#include <doctest/doctest.h>

#include <clocale>
#include <locale>
#include <string>

namespace support {

// While it lives, the global locale of C++ groups digits ("1.234") and has a decimal comma. So has
// that of C, if this machine has any such locale.
class ForeignLocale {
 public:
  ForeignLocale()
      : c_(std::setlocale(LC_ALL, nullptr)),
        cpp_(std::locale::global(std::locale(std::locale::classic(), new Punctuation))) {
    for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8", "es_ES.UTF-8"})
      if (std::setlocale(LC_ALL, name) != nullptr) return;
    MESSAGE("no locale with a decimal comma is installed: that of C stays as it is");
  }
  ForeignLocale(const ForeignLocale&) = delete;
  ForeignLocale& operator=(const ForeignLocale&) = delete;
  ~ForeignLocale() {
    std::locale::global(cpp_);
    std::setlocale(LC_ALL, c_.c_str());
  }

 private:
  struct Punctuation : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\1"; }
    std::string do_truename() const override { return "wahr"; }
  };

  const std::string c_;
  const std::locale cpp_;
};

}  // namespace support
