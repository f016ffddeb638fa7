// Calls of stdio, in the shared object of calls.hpp.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdio>

namespace calls {

int fgetc(FILE* stream);
int getc_unlocked(FILE* stream);
char* fgets(char* line, int size, FILE* stream);
ssize_t getdelim(char** line, std::size_t* size, int end, FILE* stream);
std::size_t fread(void* buffer, std::size_t size, std::size_t count, FILE* stream);
FILE* popen(const char* command, const char* mode);
int pclose(FILE* stream);

}  // namespace calls
