// Calls of stdio, and of open, in the shared object of calls.hpp.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdio>

namespace calls {

int fgetc(FILE* stream);
int getc_unlocked(FILE* stream);
char* fgets(char* line, int size, FILE* stream);
// Calls fgets with an alarm, whose handler jumps out of the call. Returns whether it has.
bool jump_out_of_fgets(FILE* stream);
ssize_t getdelim(char** line, std::size_t* size, int end, FILE* stream);
std::size_t fread(void* buffer, std::size_t size, std::size_t count, FILE* stream);
FILE* fopen(const char* path, const char* mode);
int open(const char* path, int flags);
FILE* popen(const char* command, const char* mode);
int pclose(FILE* stream);

}  // namespace calls
