#include "monkey/support.hpp"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>

#include <cerrno>
#include <string>

using namespace monkey_test;

namespace {

// A queue of POSIX with room for two messages; empty if the kernel does not support such queues.
class PosixQueue {
 public:
  PosixQueue() {
    const std::string name = "/fiber-" + std::to_string(::getpid());
    mq_attr attributes{};
    attributes.mq_maxmsg = 2;
    attributes.mq_msgsize = 8;
    queue = ::mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
    if (queue >= 0) ::mq_unlink(name.c_str());
  }
  PosixQueue(const PosixQueue&) = delete;
  PosixQueue& operator=(const PosixQueue&) = delete;
  ~PosixQueue() {
    if (queue >= 0) ::mq_close(queue);
  }
  mqd_t queue;
};

class Queue {
 public:
  Queue() { REQUIRE(id >= 0); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue() { ::msgctl(id, IPC_RMID, nullptr); }
  const int id = ::msgget(IPC_PRIVATE, 0600);
};

class Semaphores {
 public:
  Semaphores() { REQUIRE(id >= 0); }
  Semaphores(const Semaphores&) = delete;
  Semaphores& operator=(const Semaphores&) = delete;
  ~Semaphores() { ::semctl(id, 0, IPC_RMID); }
  const int id = ::semget(IPC_PRIVATE, 2, 0600);
};

struct Message {
  long type = 1;
  char text[8] = "";
};

}  // namespace

TEST_CASE("message queues of POSIX wait for a message, and for room") {
  const PosixQueue posix;
  if (posix.queue < 0) {
    MESSAGE("this kernel has no message queues of POSIX");
    return;
  }
  Events say;
  run([&] {
    const auto sender = start([&] {
      for (const char* text : {"one", "two", "three", "four"}) {
        CHECK(calls::mq_send(posix.queue, text, 5, 0) == 0);
        say(std::string("sent ") + text);
      }
    });
    char text[8];
    errno = 0;
    for (int i = 0; i < 4; ++i) {
      CHECK(calls::mq_receive(posix.queue, text, sizeof text, nullptr) == 5);
      say(text);
    }
    CHECK(errno == 0);
    await(sender);

    timespec until{};
    ::clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 3'000'000;
    until = {.tv_sec = until.tv_sec + until.tv_nsec / 1'000'000'000,
             .tv_nsec = until.tv_nsec % 1'000'000'000};
    CHECK(calls::mq_timedreceive(posix.queue, text, sizeof text, nullptr, &until) == -1);
    CHECK(errno == ETIMEDOUT);
    CHECK(calls::mq_receive(posix.queue, text, 1, nullptr) == -1);
    CHECK(errno == EMSGSIZE);
    mq_attr nonblocking{};
    nonblocking.mq_flags = O_NONBLOCK;
    ::mq_setattr(posix.queue, &nonblocking, nullptr);
    CHECK(calls::mq_receive(posix.queue, text, sizeof text, nullptr) == -1);
    CHECK(errno == EAGAIN);
  });
  const std::string events = say.take();
  CHECK(events.starts_with("sent one sent two one "));
  CHECK(events.find("three") < events.find("four"));
}

TEST_CASE("message queues of System V wait for a message, and for room") {
  const Queue queue;
  msqid_ds limits{};
  ::msgctl(queue.id, IPC_STAT, &limits);
  limits.msg_qbytes = sizeof Message::text;  // room for one message
  ::msgctl(queue.id, IPC_SET, &limits);
  Events say;
  run([&] {
    const auto sender = start([&] {
      const Message one{.type = 1, .text = "one"}, two{.type = 1, .text = "two"};
      say("sends");
      CHECK(calls::msgsnd(queue.id, &one, sizeof one.text, 0) == 0);
      CHECK(calls::msgsnd(queue.id, &two, sizeof two.text, IPC_NOWAIT) == -1);
      CHECK(errno == EAGAIN);
      CHECK(calls::msgsnd(queue.id, &two, sizeof two.text, 0) == 0);
    });
    Message got;
    CHECK(calls::msgrcv(queue.id, &got, sizeof got.text, 0, IPC_NOWAIT) == -1);
    CHECK(errno == ENOMSG);
    for (int i = 0; i < 2; ++i) {
      CHECK(calls::msgrcv(queue.id, &got, sizeof got.text, 0, 0) == sizeof got.text);
      say(got.text);
    }
    await(sender);
    // A copy of a message is never waited for: that must be said.
    CHECK(calls::msgrcv(queue.id, &got, sizeof got.text, 0, MSG_COPY) == -1);
    CHECK(errno == EINVAL);
    CHECK(calls::msgrcv(-1, &got, sizeof got.text, 0, 0) == -1);
    CHECK(errno == EINVAL);
  });
  CHECK(say.take() == "sends one two");
}

TEST_CASE("a wait for a queue or a semaphore of System V fails when that is removed") {
  run([&] {
    const int set = ::semget(IPC_PRIVATE, 1, 0600), queue = ::msgget(IPC_PRIVATE, 0600);
    const auto taker = start([&] {
      sembuf take{.sem_num = 0, .sem_op = -1, .sem_flg = 0};
      CHECK(calls::semop(set, &take, 1) == -1);
      CHECK(errno == EIDRM);
    });
    const auto receiver = start([&] {
      Message got;
      CHECK(calls::msgrcv(queue, &got, sizeof got.text, 0, 0) == -1);
      CHECK(errno == EIDRM);
    });
    await(asyncio::sleep(1ms));
    CHECK(::semctl(set, 0, IPC_RMID) == 0);
    CHECK(::msgctl(queue, IPC_RMID, nullptr) == 0);
    await(asyncio::gather(taker, receiver));
  });
}

TEST_CASE("semaphores of System V wait until another task adds, for a time, or until cancelled") {
  const Semaphores semaphores;
  Events say;
  run([&] {
    sembuf take[] = {{.sem_num = 0, .sem_op = -1, .sem_flg = 0},
                     {.sem_num = 1, .sem_op = -2, .sem_flg = 0}};
    sembuf add[] = {{.sem_num = 0, .sem_op = 1, .sem_flg = 0},
                    {.sem_num = 1, .sem_op = 2, .sem_flg = 0}};
    sembuf look = {.sem_num = 0, .sem_op = -1, .sem_flg = IPC_NOWAIT};
    CHECK(calls::semop(semaphores.id, &look, 1) == -1);
    CHECK(errno == EAGAIN);
    const auto adder = start([&] {
      say("adds");
      CHECK(calls::semop(semaphores.id, add, 2) == 0);
    });
    CHECK(calls::semop(semaphores.id, take, 2) == 0);
    say("taken");
    await(adder);
    const timespec soon{.tv_sec = 0, .tv_nsec = 3'000'000};
    CHECK(calls::semtimedop(semaphores.id, take, 2, &soon) == -1);
    CHECK(errno == EAGAIN);
    int error = 0;
    const auto task = start([&] {
      if (calls::semop(semaphores.id, take, 2) == -1) error = errno;
    });
    await(asyncio::sleep(2ms));
    task.cancel();
    await(asyncio::wait(std::vector{task}));
    CHECK(error == ECANCELED);
  });
  CHECK(say.take() == "adds taken");
}
