"""Greenlets and tasks in gdb, in a live process and in a core file.

    (gdb) info greenlets                every greenlet of every thread that has started
    (gdb) info tasks                    every unfinished task, and the object that each awaits
    (gdb) greenlet 3 bt                 the backtrace of number 3
    (gdb) greenlet worker info locals   any command, in the innermost frame of the program in the
                                        greenlet of that name
    (gdb) greenlet apply all bt 5       a command for each greenlet in turn

gdb loads this file together with the shared library if that is installed under /usr. For a library
elsewhere, and for programs that contain it:

    (gdb) source PREFIX/share/fiber/fiber_gdb.py

The library needs no debug information; frames of the program have arguments and lines if the
program has debug information. A suspended greenlet is looked at, never continued.

Core files must be written by the kernel: gdb's own generate-core-file leaves out stacks whose guard
pages are no mappings of their own.
"""

import re

import gdb
import gdb.unwinder

# The places where the jump saves registers, in bytes below the first frame of a suspended stack.
ARCHITECTURES = {
    "i386:x86-64": {
        "sp": "rsp",
        "pc": "rip",
        "saved": {
            "rip": 0x08,
            "rbp": 0x10,
            "rbx": 0x18,
            "r15": 0x20,
            "r14": 0x28,
            "r13": 0x30,
            "r12": 0x38,
        },
    },
    "aarch64": {
        "sp": "sp",
        "pc": "pc",
        "saved": {
            "pc": 0x10,
            **{"x%d" % number: 0x18 + 8 * (30 - number) for number in range(19, 31)},
        },
    },
}


class Missing(gdb.GdbError):
    """The process has no such object."""


class Memory:
    """Reads words, bytes and text from the process."""

    def __init__(self):
        self.inferior = gdb.selected_inferior()
        self.size = gdb.lookup_type("long").pointer().sizeof

    def word(self, address):
        return int.from_bytes(self.inferior.read_memory(address, self.size).tobytes(), "little")

    def byte(self, address):
        return self.inferior.read_memory(address, 1).tobytes()[0]

    def c_string(self, address):
        text = b""
        while not text.endswith(b"\0"):
            text += self.inferior.read_memory(address + len(text), 1).tobytes()
        return text[:-1].decode(errors="replace")

    def text(self, address, size):
        if size == 0:
            return ""
        return self.inferior.read_memory(address, size).tobytes().decode(errors="replace")


class Process:
    """The library's data for debuggers: see core/debugger.hpp."""

    VERSION = 1

    def __init__(self):
        try:
            root = int(gdb.parse_and_eval("(unsigned long)&fiber_debugger"))
        except gdb.error:
            raise Missing("This program does not use fiber, or is not running.")
        self.memory = Memory()
        size = self.memory.size
        try:
            version = self.memory.word(root)
        except gdb.MemoryError:
            raise Missing("The program is not running.")
        if version != self.VERSION:
            raise Missing("This script is for another version of fiber.")
        self.threads_head = self.memory.word(root + size)
        if self.threads_head == 0:
            raise Missing("No thread of the program uses fibers now.")
        self.saved_registers = self.memory.word(root + 2 * size)
        self.fields = {}
        for layer in range(3, 6):
            at = self.memory.word(root + layer * size)
            while at and self.memory.word(at):
                name = self.memory.c_string(self.memory.word(at))
                self.fields[name] = self.memory.word(at + size)
                at += 2 * size

    def place(self, address, field):
        return address + self.fields[field]

    def word(self, address, field):
        return self.memory.word(self.place(address, field))

    def byte(self, address, field):
        return self.memory.byte(self.place(address, field))

    def part(self, state, field):
        """Returns a layer's part of a thread; 0 if no thread has used that layer."""
        return self.word(state, field) if field in self.fields else 0

    def string(self, address):
        """Returns the text of the std::string at `address`; "" for null."""
        if address == 0:
            return ""
        data = self.word(address, "string.data")
        return self.memory.text(data, self.word(address, "string.size"))

    def list(self, address, next_field):
        while address:
            yield address
            address = self.word(address, next_field)

    def threads(self):
        """Returns, oldest first: (kernel's thread id, greenlet layer or 0, asyncio layer or 0)."""
        found = [
            (
                self.word(state, "ThreadState.thread_id"),
                self.part(state, "ThreadState.greenlets"),
                self.part(state, "ThreadState.asyncio"),
            )
            for state in self.list(self.threads_head, "ThreadState.next_thread")
        ]
        return reversed(found)

    def greenlets(self):
        """Yields the greenlets in the order in which they started, thread by thread."""
        number = 0
        for thread_id, layer, _ in self.threads():
            if not layer:
                continue
            head = self.word(layer, "GreenletThread.live_head")
            for address in reversed(list(self.list(head, "GreenletObject.next_live"))):
                greenlet = Greenlet(self, address, thread_id)
                if greenlet.state in ("suspended", "current"):
                    number += 1
                    greenlet.number = number
                    yield greenlet

    def tasks(self):
        """Yields the tasks, oldest first, thread by thread."""
        for thread_id, greenlets, layer in self.threads():
            for loop in self.loops(layer, greenlets):
                head = self.word(loop, "LoopObject.tasks_head")
                for address in self.list(head, "TaskBase.next_task"):
                    yield Task(self, address, thread_id, loop)

    def loops(self, layer, greenlets):
        """Returns the loops that run or are set, and those of started tasks: a foreign main loop may
        drive any number."""
        if not layer or "AsyncioThread.running" not in self.fields:
            return []
        found = [self.word(layer, "AsyncioThread.running"), self.word(layer, "AsyncioThread.set")]
        head = self.word(greenlets, "GreenletThread.live_head") if greenlets else 0
        for greenlet in reversed(list(self.list(head, "GreenletObject.next_live"))):
            if self.byte(greenlet, "GreenletObject.scheduled"):
                task = self.word(greenlet, "TaskGreenlet.task")
                found.append(self.word(task, "FutureBase.loop"))
        return [loop for index, loop in enumerate(found) if loop and loop not in found[:index]]


class Greenlet:
    def __init__(self, process, address, thread_id):
        self.process = process
        self.address = address
        self.thread_id = thread_id
        self.number = 0

    def _word(self, field):
        return self.process.word(self.address, "GreenletObject." + field)

    def _flag(self, field):
        return self.process.byte(self.address, "GreenletObject." + field) != 0

    @property
    def state(self):
        value = self.process.byte(self.address, "GreenletObject.state")
        for name in ("pending", "suspended", "current", "dead"):
            if self.process.fields["GreenletState." + name] == value:
                return name
        return "?"

    @property
    def name(self):
        if self._flag("is_main"):
            return "main"
        if self._flag("scheduled") and "TaskGreenlet.task" in self.process.fields:
            task = self.process.word(self.address, "TaskGreenlet.task")
            return Task(self.process, task, self.thread_id, 0).name
        return self.process.string(self._word("name"))

    @property
    def parent(self):
        return self._word("parent")

    def registers(self):
        """Returns the registers of a suspended greenlet, by name."""
        machine = architecture()
        context = self.process.place(self.address, "GreenletObject.context")
        end = self.process.word(context, "Context.sp") + self.process.saved_registers
        memory = self.process.memory
        saved = {name: memory.word(end - below) for name, below in machine["saved"].items()}
        saved[machine["sp"]] = end
        return saved


class Task:
    def __init__(self, process, address, thread_id, loop):
        self.process = process
        self.address = address
        self.thread_id = thread_id
        self.loop = loop

    def _word(self, field):
        return self.process.word(self.address, "TaskBase." + field)

    @property
    def name(self):
        named = self.process.string(self._word("name"))
        return named or "Task-%d" % self._word("number")

    @property
    def coroutine(self):
        name = self._word("coroutine_name")
        if not name:
            return ""
        kind = self.process.byte(self.address, "TaskBase.coroutine_kind")
        if kind == self.process.fields["CoroutineName.function"]:
            return function_at(name)
        text = self.process.memory.c_string(name)
        if kind == self.process.fields["CoroutineName.signature"]:
            named = re.search(r"T = ([^;\]]*)", text)
            return named.group(1) if named else text
        return type_name(text) if kind == self.process.fields["CoroutineName.type"] else text

    @property
    def state(self):
        if self.process.word(self.loop, "LoopObject.current_task") == self.address:
            return "running"
        if not self._word("resume_point"):
            return "not started"
        future = self._word("waiting_on")
        if not future or self.process.byte(future, "FutureBase.state"):
            return "ready"
        if self.process.byte(future, "FutureBase.is_task"):
            return "awaits " + Task(self.process, future, self.thread_id, self.loop).name
        return "awaits future 0x%x" % future

    def greenlet(self):
        """Returns the greenlet in which the task is suspended: not always its own."""
        point = self._word("resume_point")
        return Greenlet(self.process, point, self.thread_id) if point else None


def function_at(address):
    """Returns the name of the function at `address`, without its parameters."""
    text = gdb.execute("info symbol 0x%x" % address, to_string=True)
    found = re.match(r"(.*?)(?:\(.*)? in section ", text)
    return found.group(1) if found else "0x%x" % address


def type_name(mangled):
    """Returns the name that the library's own reports show: "main::{lambda()#1}"."""
    try:
        name = gdb.execute("with language c++ -- demangle _ZTI" + mangled, to_string=True)
    except gdb.error:
        return mangled
    name = name.partition("\n")[0]  # a warning about languages may follow it
    name = name.removeprefix("typeinfo for ")
    for wrapper in ("CoroutineFunction", "Deferred"):
        wrapped = re.fullmatch(r"fiber::asyncio::detail::%s<(.*)>" % wrapper, name)
        name = wrapped.group(1) if wrapped else name
    return name


def architecture():
    name = gdb.selected_frame().architecture().name()
    if name not in ARCHITECTURES:
        raise gdb.GdbError("Suspended stacks of %s cannot be read yet." % name)
    return ARCHITECTURES[name]


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class SuspendedUnwinder(gdb.unwinder.Unwinder):
    """Tells gdb, while `registers` is set, that the code at these registers called the innermost
    frame."""

    def __init__(self):
        super().__init__("fiber")
        self.registers = None

    def start(self, registers):
        frame = gdb.newest_frame()
        machine = architecture()
        self.machine = machine
        self.newest = (int(frame.read_register(machine["sp"])), frame.pc())
        self.registers = registers
        gdb.invalidate_cached_frames()

    def stop(self):
        self.registers = None
        gdb.invalidate_cached_frames()

    def __call__(self, pending):
        if self.registers is None:
            return None
        sp = pending.read_register(self.machine["sp"])
        pc = pending.read_register(self.machine["pc"])
        if (int(sp), int(pc)) != self.newest:
            return None
        # Callers must lie above this frame, or gdb thinks that the stack is corrupt.
        below = gdb.Value(self.registers[self.machine["sp"]] - 256).cast(sp.type)
        info = pending.create_unwind_info(FrameId(below, pc))
        for name, value in self.registers.items():
            kind = pending.read_register(name).type
            info.add_saved_register(name, gdb.Value(value).cast(kind))
        return info


unwinder = SuspendedUnwinder()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)


def is_our_own(function):
    """Returns whether a function is the library's. Without debug information, templates' names
    begin with the type that they return."""
    name = function.replace("decltype(auto) ", "").replace("(anonymous namespace)::", "")
    while "<" in name and name != (name := re.sub(r"<[^<>]*>", "", name)):
        pass
    words = name.partition("(")[0].split()
    return bool(words) and words[-1].startswith(("fiber::", "jump_fcontext"))


def body_in(function):
    """Returns the callable in the library's function that calls a task's body inlined, or ""."""
    found = re.match(r"fiber::asyncio::detail::CallableTask<(.*)>::call\(", function)
    if not found:
        return ""
    depth = 0
    for at, c in enumerate(found.group(1)):
        depth += (c in "<({") - (c in ")}" or (c == ">" and found.group(1)[at - 1] != "-"))
        if c == "," and depth == 0:
            body = found.group(1)[at + 1 :].strip()
            wrapped = re.match(r"fiber::asyncio::detail::CoroutineFunction<(.*)>::operator\(\)<", body)
            return wrapped.group(1) if wrapped else body
    return ""


class Inside:
    """A scope in which gdb shows the frames of a greenlet, if it has any."""

    def __init__(self, greenlet):
        self.greenlet = greenlet
        self.hidden = 0  # frames before its innermost one

    def __enter__(self):
        self.thread = gdb.selected_thread()
        if self.greenlet.state == "current":
            for thread in gdb.selected_inferior().threads():
                if thread.ptid[1] == self.greenlet.thread_id:
                    thread.switch()
                    gdb.newest_frame().select()
                    return self
            raise gdb.GdbError("Its thread is not among those of the process.")
        unwinder.start(self.greenlet.registers())
        frame = gdb.newest_frame()
        self.hidden = 1
        while frame is not None and frame.type() == gdb.INLINE_FRAME:
            self.hidden += 1
            frame = frame.older()
        frame = frame.older() if frame is not None else None
        if frame is None:
            unwinder.stop()
            raise gdb.GdbError("Its stack cannot be read.")
        frame.select()
        return self

    def __exit__(self, *_):
        if self.hidden:
            unwinder.stop()
        elif self.thread is not None and self.thread.is_valid():
            self.thread.switch()
        gdb.newest_frame().select()

    def backtrace(self, arguments):
        count = re.search(r"(?<![\w-])\d+\s*$", arguments)
        if count and self.hidden:
            more = str(int(count.group()) + self.hidden)
            arguments = arguments[: count.start()] + more
        text = gdb.execute("backtrace " + arguments, to_string=True)
        for entry in re.split(r"(?m)^(?=#\d)", text):
            numbered = re.match(r"#(\d+)( *)", entry)
            if not numbered:
                gdb.write(entry)
                continue
            number = int(numbered.group(1)) - self.hidden
            if number >= 0:
                gdb.write("#%-3d" % number + entry[numbered.end() :])

    def execute(self, command):
        verb, _, arguments = command.partition(" ")
        if verb in ("bt", "backtrace", "where"):
            self.backtrace(arguments)
        else:
            frame = self.user_frame()
            if frame is not None:
                frame.select()
            if command:
                gdb.execute(command)
            else:
                text = gdb.execute("frame", to_string=True)
                level = gdb.selected_frame().level() - self.hidden
                gdb.write(re.sub(r"^#\d+ *", "#%-3d" % level, text))

    def user_frame(self):
        """Returns the innermost frame that is not the library's own, if there is one."""
        frame = gdb.selected_frame()
        while frame is not None:
            if frame.name() is not None and not is_our_own(frame.name()):
                return frame
            frame = frame.older()
        return None

    def inlined_body(self):
        frame = gdb.selected_frame()
        while frame is not None:
            if frame.name() is not None and body_in(frame.name()):
                return body_in(frame.name())
            frame = frame.older()
        return ""

    def where(self):
        frame = self.user_frame()
        if frame is None:
            return self.inlined_body()
        line = frame.find_sal()
        if line.symtab is None:
            return frame.name()
        return "%s at %s:%d" % (frame.name(), line.symtab.filename, line.line)


def where(greenlet):
    try:
        with Inside(greenlet) as inside:
            return inside.where()
    except gdb.error:
        return "?"


def table(heads, rows):
    rows = [heads] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        gdb.write("  ".join(cells).rstrip() + "\n")


class InfoGreenlets(gdb.Command):
    """List the greenlets that have started and not ended, of all threads.

Numbers hold until the program continues."""

    def __init__(self):
        super().__init__("info greenlets", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        greenlets = list(Process().greenlets())
        numbers = {greenlet.address: greenlet.number for greenlet in greenlets}
        table(
            ["Id", "Thread", "Address", "State", "Parent", "Name", "Where"],
            [
                [
                    greenlet.number,
                    "LWP %d" % greenlet.thread_id,
                    "0x%x" % greenlet.address,
                    greenlet.state,
                    numbers.get(greenlet.parent, "-"),
                    greenlet.name or "-",
                    where(greenlet),
                ]
                for greenlet in greenlets
            ],
        )


class InfoTasks(gdb.Command):
    """List the unfinished tasks of the threads' event loops, and the object that each awaits."""

    def __init__(self):
        super().__init__("info tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        numbers = {}
        process = Process()
        for greenlet in process.greenlets():
            numbers[greenlet.address] = greenlet.number
        rows = []
        for task in process.tasks():
            greenlet = task.greenlet()
            state = task.state
            suspended = greenlet is not None and greenlet.state == "suspended"
            rows.append(
                [
                    numbers.get(greenlet.address, "-") if greenlet else "-",
                    "LWP %d" % task.thread_id,
                    "0x%x" % task.address,
                    task.name,
                    task.coroutine or "-",
                    state,
                    where(greenlet) if suspended else "",
                ]
            )
        table(["Greenlet", "Thread", "Address", "Name", "Coroutine", "State", "Where"], rows)


class GreenletCommand(gdb.Command):
    """Look at a greenlet: greenlet NUMBER|ADDRESS|NAME [COMMAND]

The command is run in its innermost frame that is not the library's own; without one,
that frame is shown. Backtraces are whole. See also "info greenlets"."""

    def __init__(self):
        super().__init__("greenlet", gdb.COMMAND_STACK, prefix=True)

    def invoke(self, argument, from_tty):
        wanted, _, command = argument.strip().partition(" ")
        if not wanted:
            raise gdb.GdbError("Which greenlet? Give a number of \"info greenlets\", or its name.")
        for greenlet in Process().greenlets():
            if wanted in (str(greenlet.number), "0x%x" % greenlet.address, greenlet.name):
                with Inside(greenlet) as inside:
                    inside.execute(command.strip())
                return
        raise gdb.GdbError("No greenlet %s." % wanted)


class GreenletApply(gdb.Command):
    """Apply a command to greenlets: greenlet apply all|NUMBER... COMMAND"""

    def __init__(self):
        super().__init__("greenlet apply", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        parsed = re.match(r"\s*(all|\d+(?:\s+\d+)*)\s+(\S.*)", argument)
        if not parsed:
            raise gdb.GdbError("Usage: greenlet apply all|NUMBER... COMMAND")
        wanted = None if parsed.group(1) == "all" else set(map(int, parsed.group(1).split()))
        for greenlet in Process().greenlets():
            if wanted is not None and greenlet.number not in wanted:
                continue
            gdb.write(
                "\nGreenlet %d (0x%x, %s, %s):\n"
                % (greenlet.number, greenlet.address, greenlet.name or "no name", greenlet.state)
            )
            try:
                with Inside(greenlet) as inside:
                    inside.execute(parsed.group(2))
            except gdb.error as error:
                gdb.write("%s\n" % error)


InfoGreenlets()
InfoTasks()
GreenletCommand()
GreenletApply()
