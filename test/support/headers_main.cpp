// The test is that this compiles and links.
int main() {}
