// Tools that start other programs and talk to them by pipes, by fiber-run.
#include "unmodified_programs/programs.hpp"

using namespace unmodified;

namespace {

void same_in_shell(const std::vector<std::string>& needed, const std::string& script,
                   int status = 0) {
  if (!has({"bash"}) || !has(needed)) return;
  for (const bool children : {false, true})
    same_script({"bash", "-c"}, script, status, {.children = children});
}

}  // namespace

TEST_CASE("awk and sed with programs at their pipes") {
  same_in_shell({"gawk"},
                "gawk 'BEGIN { \"echo hi\" | getline x; print x; while ((\"seq 5\" | getline y) > "
                "0) s += y; print s; print system(\"exit 3\"); print \"z\" | \"cat 1>&2\"; "
                "close(\"cat 1>&2\"); c = \"cat\"; print \"through\" |& c; close(c, \"to\"); c |& "
                "getline l; print l; exit 4 }'",
                4);
  same_in_shell({"sed"}, "seq 20000 | sed -e 's/5/five/g' -e '3e echo a program' | cksum");
}

TEST_CASE("find, xargs and grep") {
  same_in_shell(
      {"find", "xargs"},
      "mkdir d; for i in 1 2 3 4; do seq $i 3000 > d/$i; done; find d -type f -exec wc -l "
      "{} + | sort; find d -type f -print0 | sort -z | xargs -0 -n 1 tail -n 1; echo a | "
      "xargs -I% sh -c 'exit 1'; echo $?; grep -r -c 99 d | sort; grep x no-such-file",
      2);
}

TEST_CASE("make runs commands side by side") {
  same_in_shell(
      {"make"},
      "printf 'all: a b\\n\\t@cat a b\\na:\\n\\t@sleep 0.05; echo a > a\\nb:\\n\\t@echo b "
      "> b\\nbad:\\n\\t@exit 3\\n' > Makefile; make -j4; make -s bad",
      2);
}

TEST_CASE("compressors in pipelines") {
  same_in_shell({"gzip"}, "seq 50000 | gzip -9 | gunzip | cksum; echo x | gunzip", 1);
  same_in_shell({"xz"}, "seq 50000 | xz -0 | xz -d | cksum");
  same_in_shell({"bzip2"}, "seq 50000 | bzip2 | bunzip2 | cksum");
}

TEST_CASE("FIFOs between programs") {
  same_in_shell(
      {"mkfifo"},
      "mkfifo f g; (seq 1000 > f &); cat < f | cksum; (sleep 0.1; echo late > f) & read x "
      "< f; echo $x; wait; cat f > g & seq 10 > f & cat g; wait");
}

TEST_CASE("rsync copies a tree") {
  same_in_shell({"rsync"},
                "mkdir a; for i in 1 2 3; do seq $i 9000 > a/$i; done; rsync -a a/ b/; cat b/* | "
                "cksum; rm a/2; rsync -a --delete a/ b/; ls b; rsync -a no-such-folder b",
                23);
}
