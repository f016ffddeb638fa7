// Being compiled and linked is the whole test.
int main() {}
