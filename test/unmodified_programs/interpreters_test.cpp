// Shells and languages, by fiber-run.
#include "unmodified_programs/programs.hpp"

using namespace unmodified;

namespace {

std::string numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

}  // namespace

TEST_CASE("bash") {
  if (!has({"bash"})) return;
  for (const bool children : {false, true}) {
    const Options options{.input = numbers(1000), .children = children};
    same_script({"bash", "-c"}, "echo out; echo err >&2; exit 3", 3, options);
    same_script({"bash", "-c"}, "read a; read -t 5 b; echo $a $b; cat | tail -n 1", 0, options);
    same_script(
        {"bash", "-c"},
        "for i in 1 2 3; do (sleep 0.0$i; exit $i) & p[$i]=$!; done; s=0; for i in 3 1 2; do wait "
        "${p[$i]}; s=$((s + $?)); done; echo $s; (sleep 0.05; exit 4) & wait -n; echo $?",
        0, options);
    same_script({"bash", "-c"},
                "trap 'echo child' CHLD; trap 'echo usr1' USR1; trap 'echo bye' EXIT; (kill -USR1 "
                "$$); sleep 0.05; echo done; exit 4",
                4, options);
    same_script({"bash", "-c"}, "read -t 0.1 x < <(sleep 1); echo $(( $? > 128 ))", 0, options);
    same_script({"bash", "-c"},
                "coproc cat; echo hello >&${COPROC[1]}; read l <&${COPROC[0]}; "
                "echo $l; kill $COPROC_PID; wait; echo $?",
                0, options);
    same_script({"bash", "-c"},
                "set -m; sleep 0.1 & jobs; wait %1; echo $?; false | true | "
                "(exit 5); echo ${PIPESTATUS[@]}",
                0, options);
    same_script({"bash", "-c"},
                "a=$(printf '%s\\n' {1..2000} | sort -n | tail -n1); echo $a; "
                "cat <<END\nhere $a\nEND\ndiff <(echo a) <(echo b)",
                1, options);
    same_script({"bash", "-c"}, "exec 3<>/dev/tcp/127.0.0.1/1; echo $?", 0, options);
    same_script({"bash", "-c"}, "f() { [ $1 = 0 ] || f $(($1 - 1)); }; f 300; echo deep", 0,
                options);
    same_script({"bash", "-c"}, "ulimit -c 0; kill -SEGV $BASHPID", 139, options);
    same_script({"bash", "-c"}, "exec sh -c 'echo $0 $1; exit 9' a b", 9, options);
  }
  same({"bash", "-i"}, 6, {.input = "PS1=\necho interactive\nsleep 0.01\nexit 6\n"});
  same({"bash"}, 127, {.input = "echo from input\nno-such-command-here 2>/dev/null\n"});
}

TEST_CASE("python3") {
  if (!has({"python3"})) return;
  const Options options{.input = numbers(100)};
  same_script({"python3", "-c"}, "import sys; print(sum(map(int, sys.stdin))); sys.exit(3)", 3,
              options);
  same_script({"python3", "-c"}, "1/0", 1, options);
  same_script({"python3", "-c"}, R"(
import socket, threading, time, queue
server = socket.create_server(('127.0.0.1', 0))
def serve():
    for _ in range(3):
        connection, _ = server.accept()
        with connection:
            connection.sendall(connection.recv(100).upper())
thread = threading.Thread(target=serve)
thread.start()
for word in (b'a', b'bc', b'def'):
    with socket.create_connection(server.getsockname()) as client:
        client.sendall(word)
        client.settimeout(30)
        print(client.recv(100))
thread.join()
q = queue.Queue()
threading.Timer(0.05, q.put, ['timer']).start()
print(q.get(timeout=30))
lock = threading.Condition()
with lock: print(lock.wait(0.01))
)",
              0, options);
  same_script({"python3", "-c"}, R"(
import asyncio, signal, os
async def main():
    loop = asyncio.get_running_loop()
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    process = await asyncio.create_subprocess_exec('cat', stdin=-1, stdout=-1)
    print(await process.communicate(b'through cat'), process.returncode)
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    async def client(i):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'%d\n' % i)
        line = await reader.read()
        writer.close()
        return line
    print(await asyncio.gather(*map(client, range(20))))
    print(await asyncio.to_thread(lambda: 'thread'))
    try:
        await asyncio.wait_for(asyncio.sleep(60), 0.01)
    except asyncio.TimeoutError:
        print('limit')
asyncio.run(main())
)",
              0, options);
  same_script({"python3", "-c"}, R"(
import os, signal, subprocess, select, time, errno
print(subprocess.run(['sh', '-c', 'cat; exit 5'], input=b'x' * 200000, stdout=-1).returncode)
print(subprocess.check_output('echo a | tr a b', shell=True))
try: subprocess.run(['sleep', '60'], timeout=0.1)
except subprocess.TimeoutExpired as e: print('expired')
r, w = os.pipe()
print(select.select([r], [], [], 0.01), select.select([], [w], [], 1) == ([], [w], []))
signal.signal(signal.SIGALRM, lambda *a: print('alarm'))
signal.setitimer(signal.ITIMER_REAL, 0.05)
time.sleep(0.2)
class Late(Exception): pass
def late(*a): raise Late
signal.signal(signal.SIGALRM, late)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try: os.read(r, 1)
except Late: print('late')
pid = os.fork()
if pid == 0:
    time.sleep(0.02); os.write(w, b'from child'); os._exit(7)
print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
p = select.poll(); p.register(r, select.POLLIN); print(p.poll(10))
e = select.epoll(); e.register(w, select.EPOLLOUT); print(len(e.poll(1)))
)",
              0, options);
  same_script({"python3", "-c"}, R"(
import multiprocessing as m, concurrent.futures as c
def square(x): return x * x
if __name__ == '__main__':
    with c.ThreadPoolExecutor(4) as pool: print(list(pool.map(square, range(10))))
    with m.get_context('fork').Pool(2) as pool: print(pool.map(square, range(10)))
)",
              0, options);
  same_script({"python3", "-c"}, R"(
import sys
def deep(n): return 0 if n == 0 else 1 + deep(n - 1)
print(deep(900))
try: deep(10 ** 6)
except RecursionError: print('recursion')
sys.setrecursionlimit(6000)
import json; print(len(json.dumps(eval('[' * 90 + ']' * 90))))
)",
              0, options);
  same_script({"python3", "-c"},
              "import os, signal; os.kill(os.getpid(), signal.SIGINT); "
              "import time; time.sleep(60)",
              130, options);
}

TEST_CASE("perl") {
  if (!has({"perl"})) return;
  for (const bool children : {false, true}) {
    const Options options{.input = numbers(100), .children = children};
    same_script({"perl", "-e"}, "$s += $_ while <STDIN>; print qq($s\\n); exit 3", 3, options);
    same_script({"perl", "-e"}, "die qq(dead\\n)", 255, options);
    same_script({"perl", "-e"}, R"(
$| = 1;
print `echo from a shell`;
open(my $pipe, '-|', 'printf "a\nb\n"; exit 3') or die; print <$pipe>; close $pipe; print $? >> 8, "\n";
my $pid = fork; if (!$pid) { select undef, undef, undef, 0.05; exit 9 } waitpid $pid, 0; print $? >> 8, "\n";
eval { local $SIG{ALRM} = sub { die "late\n" }; alarm 1; sleep 30; }; print $@;
$SIG{USR1} = sub { print "usr1\n" }; kill USR1 => $$;
print system('exit 4') >> 8, "\n";
pipe(my $r, my $w); print select(my $x = '', undef, undef, 0.01) + 0, "\n";
)",
                0, options);
    same_script({"perl", "-MIO::Socket::INET", "-MIO::Select", "-e"}, R"(
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die;
my $pid = fork // die;
if (!$pid) {
  my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->sockport) or die;
  print $c "hello $_\n" for 1 .. 3; print scalar <$c>; close $c; exit 0;
}
my $c = $server->accept; for (1 .. 3) { my $line = <$c>; print "got $line" }
print IO::Select->new($server)->can_read(0.01) + 0, "\n"; print $c "bye\n"; close $c; wait; print "$?\n";
)",
                0, options);
  }
}

TEST_CASE("tar") {
  if (!has({"tar", "gzip"})) return;
  const std::string prepare = "mkdir d; for i in 1 2 3; do seq $i 5000 > d/$i; done; ";
  for (const bool children : {false, true}) {
    const Options options{.children = children};
    same_script({"bash", "-c"},
                prepare +
                    "tar --sort=name --mtime=@0 --owner=0 --group=0 -c d | cksum; tar -czf a.gz d; "
                    "tar -tzf "
                    "a.gz | sort; rm -r d; tar -xzf a.gz; cat d/* | cksum; tar -xf no-such-file",
                2, options);
  }
  const legacy_test::TemporaryDirectory directory;
  for (const char* name : {"a", "b", "c"}) directory.write(name, numbers(20'000));
  same({"tar", "-C", directory.path(), "--sort=name", "--mtime=@0", "-c", "."});
  same({"tar", "-C", directory.path(), "--sort=name", "--mtime=@0", "-c", "-z", "-v", "."});
  same({"tar", "-C", directory.path(), "-c", "-f", "a.tar.gz", "-z", "."}, 0, {.children = true});
  same({"tar", "-x", "-z", "-f", "no-such-file.gz"}, 2);
  same({"tar", "--checkpoint=100", "--checkpoint-action=exec=echo checkpoint", "-C",
        directory.path(), "-c", "-f", "x", "."});
}

TEST_CASE("sqlite3") {
  if (!has({"sqlite3"})) return;
  same({"sqlite3", ":memory:", "select 1 + 1, 'text', null; select * from nothing"}, 1);
  same({"sqlite3", "file"}, 0,
       {.input = "create table t(a, b);\nbegin;\n"
                 "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) "
                 "insert into t select i, hex(i) from n;\ncommit;\n.mode csv\n"
                 "select count(*), sum(a), max(b) from t;\n.dump t\n.shell echo from a shell\n"});
  same({"sqlite3", "-batch", "-bail", "file"}, 1, {.input = "select 1;\nselec 2;\nselect 3;\n"});
}
