/* A program whose main knows nothing of fibers: it loads a plugin that uses them, calls it, in its
   main thread or in others, and unloads it, again and again. Prints one line for each step.

     plugin_host PLUGIN main|threads|faults */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char* path;

static void* load(void) {
  void* plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (plugin == NULL) {
    puts(dlerror());
    exit(1);
  }
  return plugin;
}

static int use(void* plugin) {
  int (*answer)(void) = NULL;
  *(void**)&answer = dlsym(plugin, "plugin_answer");
  return answer();
}

static int is_loaded(void) {
  void* plugin = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (plugin != NULL) dlclose(plugin);
  return plugin != NULL;
}

static void* in_thread(void* plugin) { return use(plugin) == 42 ? plugin : NULL; }

static void on_fault(int signal) {
  static const char text[] = "the program's own handler\n";
  (void)signal;
  (void)!write(STDOUT_FILENO, text, sizeof text - 1);
  _exit(0);
}

int main(int count, char** arguments) {
  if (count != 3) return 2;
  path = arguments[1];
  setvbuf(stdout, NULL, _IONBF, 0);
  if (strcmp(arguments[2], "main") == 0) {
    for (int i = 0; i < 3; ++i) {
      void* plugin = load();
      printf("answer %d\n", use(plugin));
      dlclose(plugin);
    }
    return 0;
  }
  if (strcmp(arguments[2], "faults") == 0) signal(SIGSEGV, on_fault);
  int wrong = 0, stayed = 0;
  for (int i = 0; i < 50; ++i) {
    void *plugin = load(), *result = NULL;
    pthread_t thread;
    pthread_create(&thread, NULL, in_thread, plugin);
    pthread_join(thread, &result);
    wrong += result != plugin;
    dlclose(plugin);
    stayed += is_loaded();
  }
  printf("wrong answers %d, loaded still %d\n", wrong, stayed);
  if (strcmp(arguments[2], "faults") == 0) {
    raise(SIGSEGV);
    puts("nobody handled it");
  }
  return 0;
}
