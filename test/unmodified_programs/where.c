/* Says on which stack main() runs, and what it was given. With a second argument "pthread_exit" or
   "pthread_cancel", its thread ends before the last one, by itself or by that one; with
   "cancel_itself" the request comes before the wait. With "stack" it says whether main() runs on the
   stack that its thread is said to have; with "executable", how its memory may be used; with "deep"
   it uses 40 MiB of the stack. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void clean_up(void* what) { printf("%s\n", (char*)what); }

static int cancels, itself;

static void* last_thread(void* main_thread) {
  if (cancels) pthread_cancel(*(pthread_t*)main_thread);
  pthread_join(*(pthread_t*)main_thread, NULL);
  printf("the last thread\n");
  return NULL;
}

static void end_thread(void) {
  static pthread_t main_thread;
  pthread_t other;
  main_thread = pthread_self();
  if (pthread_create(&other, NULL, last_thread, &main_thread) != 0) return;
  pthread_cleanup_push(clean_up, "main() is cleaned up");
  if (itself) pthread_cancel(main_thread);
  if (!cancels && !itself) pthread_exit(NULL);
  for (;;) sleep(3600);
  pthread_cleanup_pop(0);
}

static void say_whether_on_own_stack(void) {
  pthread_attr_t attributes;
  void* begin = NULL;
  size_t size = 0;
  char local = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return;
  pthread_attr_getstack(&attributes, &begin, &size);
  pthread_attr_destroy(&attributes);
  printf("%s the stack\n",
         &local >= (char*)begin && &local < (char*)begin + size ? "on" : "not on");
}

static void say_how_memory_may_be_used(const void* at) {
  char line[512], how[8];
  FILE* maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin = 0, end = 0;
    if (sscanf(line, "%lx-%lx %7s", &begin, &end, how) == 3 && (unsigned long)at >= begin &&
        (unsigned long)at < end)
      printf("%s\n", how);
  }
  if (maps != NULL) fclose(maps);
}

static int sink;

static void go_down(int times) {
  volatile char frame[1024];
  frame[0] = (char)times;
  if (times > 0) go_down(times - 1);
  sink += frame[0];
}

int main(int count, char** arguments) {
  char line[512];
  int local = 0, found = 0;
  FILE* maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    unsigned long begin = 0, end = 0;
    if (strstr(line, "[stack]") == NULL || sscanf(line, "%lx-%lx", &begin, &end) != 2) continue;
    found = (unsigned long)&local >= begin && (unsigned long)&local < end;
  }
  if (maps != NULL) fclose(maps);
  printf("%s stack, %d arguments, LD_PRELOAD %s\n", found ? "the thread's" : "another", count - 1,
         getenv("LD_PRELOAD") != NULL ? getenv("LD_PRELOAD") : "unset");
  cancels = count > 2 && strcmp(arguments[2], "pthread_cancel") == 0;
  itself = count > 2 && strcmp(arguments[2], "cancel_itself") == 0;
  if (cancels || itself || (count > 2 && strcmp(arguments[2], "pthread_exit") == 0)) end_thread();
  if (count > 2 && strcmp(arguments[2], "stack") == 0) say_whether_on_own_stack();
  if (count > 2 && strcmp(arguments[2], "executable") == 0) say_how_memory_may_be_used(&local);
  if (count > 2 && strcmp(arguments[2], "deep") == 0) {
    go_down(40 * 1024);
    printf("40 MiB deep\n");
  }
  return count > 1 ? atoi(arguments[1]) : 0;
}
