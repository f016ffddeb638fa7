#include "monkey/stdio_calls.hpp"

namespace calls {

int fgetc(FILE* stream) { return ::fgetc(stream); }
int getc_unlocked(FILE* stream) { return ::getc_unlocked(stream); }
char* fgets(char* line, int size, FILE* stream) { return ::fgets(line, size, stream); }
ssize_t getdelim(char** line, std::size_t* size, int end, FILE* stream) {
  return ::getdelim(line, size, end, stream);
}
std::size_t fread(void* buffer, std::size_t size, std::size_t count, FILE* stream) {
  return ::fread(buffer, size, count, stream);
}
FILE* popen(const char* command, const char* mode) { return ::popen(command, mode); }
int pclose(FILE* stream) { return ::pclose(stream); }

}  // namespace calls
