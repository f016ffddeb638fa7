// Calls of libc and of the C++ library that use much of a stack, as old code makes them.
#pragma once

#include <dlfcn.h>
#include <execinfo.h>
#include <fnmatch.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <iconv.h>
#include <ifaddrs.h>
#include <limits.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <regex.h>
#include <search.h>
#include <stdlib.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>
#include <wordexp.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <locale>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace monkey_test {

struct OldCall {
  const char* name;
  void (*run)();
};

inline void sort_integers(std::size_t count) {
  std::vector<int> numbers(count);
  for (std::size_t i = 0; i < count; ++i) numbers[i] = static_cast<int>(i * 7919 % count);
  ::qsort(numbers.data(), count, sizeof(int), [](const void* a, const void* b) {
    return *static_cast<const int*>(a) - *static_cast<const int*>(b);
  });
}

inline void match_std_regex(std::size_t length) {
  static const std::regex pattern("(a|b)*c");
  std::regex_match(std::string(length, 'a') + 'c', pattern);
}

inline void match_posix_regex(std::size_t length) {
  regex_t pattern;
  if (::regcomp(&pattern, "^(a|b)*\\1$", REG_EXTENDED) != 0) return;
  ::regexec(&pattern, std::string(length, 'a').c_str(), 0, nullptr, 0);
  ::regfree(&pattern);
}

inline const OldCall kOldCalls[] = {
    {"snprintf of an int",
     [] {
       char text[20];
       std::snprintf(text, sizeof text, "%d", 42);
     }},
    {"snprintf of a double",
     [] {
       char text[400];
       std::snprintf(text, sizeof text, "%f", 1e300);
     }},
    {"snprintf of a long double",
     [] {
       std::vector<char> text(6000);
       std::snprintf(text.data(), text.size(), "%Lf", std::numeric_limits<long double>::max());
     }},
    {"fprintf to a stream without a buffer",
     [] {
       FILE* file = std::fopen("/dev/null", "w");
       if (file == nullptr) return;
       std::setvbuf(file, nullptr, _IONBF, 0);
       std::fprintf(file, "%d %s", 42, "text");
       std::fclose(file);
     }},
    {"sscanf",
     [] {
       int number = 0;
       std::sscanf("42", "%d", &number);
     }},
    {"strtod of 1000 digits", [] { std::strtod(std::string(1000, '7').c_str(), nullptr); }},
    {"strtold of 20 000 digits", [] { ::strtold(std::string(20'000, '7').c_str(), nullptr); }},
    {"getaddrinfo of a name",
     [] {
       addrinfo* list = nullptr;
       if (::getaddrinfo("localhost", "80", nullptr, &list) == 0) ::freeaddrinfo(list);
     }},
    {"gethostbyname", [] { ::gethostbyname("localhost"); }},
    {"getpwuid, getgrgid",
     [] {
       ::getpwuid(0);
       ::getgrgid(0);
     }},
    {"getifaddrs",
     [] {
       ifaddrs* list = nullptr;
       if (::getifaddrs(&list) == 0) ::freeifaddrs(list);
     }},
    {"glob",
     [] {
       glob_t found;
       if (::glob("/usr/*/*", 0, nullptr, &found) == 0) ::globfree(&found);
     }},
    {"wordexp",
     [] {
       wordexp_t words;
       if (::wordexp("~/a ${HOME}", &words, WRDE_NOCMD) == 0) ::wordfree(&words);
     }},
    {"fnmatch", [] { ::fnmatch("*.[ch]pp", "something.cpp", 0); }},
    {"nftw",
     [] {
       ::nftw(
           "/usr/share/doc",
           [](const char*, const struct stat*, int, FTW* at) { return at->level > 1 ? 1 : 0; }, 4,
           FTW_PHYS);
     }},
    {"realpath", [] { ::free(::realpath("/usr/../usr/./lib", nullptr)); }},
    {"regcomp, regexec of 1000 characters", [] { match_posix_regex(1000); }},
    {"qsort of 200 integers", [] { sort_integers(200); }},
    {"qsort of a million integers", [] { sort_integers(1'000'000); }},
    {"localtime, strftime, mktime",
     [] {
       const time_t now = ::time(nullptr);
       tm parts{};
       ::localtime_r(&now, &parts);
       char text[100];
       ::strftime(text, sizeof text, "%c %Z", &parts);
       ::mktime(&parts);
     }},
    {"getdate, strptime",
     [] {
       tm parts{};
       ::strptime("2026-01-01 10:11:12", "%Y-%m-%d %H:%M:%S", &parts);
     }},
    {"setlocale", [] { ::freelocale(::newlocale(LC_ALL_MASK, "C.UTF-8", nullptr)); }},
    {"iconv",
     [] {
       const iconv_t conversion = ::iconv_open("UTF-16", "ISO-8859-15");
       if (conversion == reinterpret_cast<iconv_t>(-1)) return;
       char text[] = "text", result[100];
       char *in = text, *out = result;
       std::size_t in_size = sizeof text, out_size = sizeof result;
       ::iconv(conversion, &in, &in_size, &out, &out_size);
       ::iconv_close(conversion);
     }},
    {"dlopen, dlclose",
     [] {
       if (void* object = ::dlopen("libresolv.so.2", RTLD_NOW)) ::dlclose(object);
     }},
    {"backtrace, backtrace_symbols",
     [] {
       void* frames[50];
       ::free(::backtrace_symbols(frames, ::backtrace(frames, 50)));
     }},
    {"syslog",
     [] {
       ::setlogmask(LOG_UPTO(LOG_EMERG));
       ::syslog(LOG_EMERG, "%s", "");
     }},
    {"system", [] { static_cast<void>(std::system("true") + 1); }},
    {"popen, pclose",
     [] {
       if (FILE* out = ::popen("true", "r")) ::pclose(out);
     }},
    {"an exception that is thrown and caught",
     [] {
       try {
         throw std::runtime_error("");
       } catch (const std::exception&) {
       }
     }},
    {"std::ostringstream of a long double",
     [] {
       std::ostringstream text;
       text << std::fixed << std::numeric_limits<long double>::max();
     }},
    {"std::ifstream, std::getline",
     [] {
       std::ifstream file("/etc/passwd");
       for (std::string line; std::getline(file, line);) {
       }
     }},
    {"std::locale",
     [] {
       try {
         const std::locale locale("C.UTF-8");
       } catch (const std::runtime_error&) {
       }
     }},
    {"std::random_device, std::mt19937",
     [] {
       std::mt19937 random(std::random_device{}());
       random();
     }},
    {"std::filesystem",
     [] {
       std::error_code error;
       for (const auto& entry : std::filesystem::recursive_directory_iterator("/etc/", error))
         if (entry.path().empty()) return;
     }},
    {"std::regex_match of 100 characters", [] { match_std_regex(100); }},
    {"std::regex_match of 1000 characters", [] { match_std_regex(1000); }},
};

}  // namespace monkey_test
