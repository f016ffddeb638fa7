/* A program in C outside the tree: one thing from each part of <fiber/fiber.h>. */
#include <fiber/fiber.h>
#include <stdio.h>

static int twice(void* argument, void** value) {
  (void)argument;
  int* number = *value;
  *number *= 2;
  return FIBER_OK;
}

static int add_six(void* argument, void** result) {
  int* number = argument;
  int status = fiber_sleep(FIBER_MILLISECOND);
  if (status != FIBER_OK) return status;
  *number += 6;
  *result = number;
  return FIBER_OK;
}

int main(void) {
  int number = 18;
  fiber_greenlet* greenlet = NULL;
  void* result = NULL;
  if (fiber_greenlet_new(&greenlet, twice, NULL, NULL) != FIBER_OK ||
      fiber_greenlet_switch(greenlet, &number, NULL) != FIBER_OK ||
      fiber_run(add_six, &number, &result) != FIBER_OK) {
    fprintf(stderr, "%s\n", fiber_last_error());
    return 1;
  }
  fiber_greenlet_unref(greenlet);
  printf("%d\n", *(int*)result);
  return 0;
}
