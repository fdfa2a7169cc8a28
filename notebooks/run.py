"""Run notebooks in order from a terminal, showing what they print: `python notebooks/run.py 01 02 03`.

The executed copies go to `logs/notebooks/`; a notebook that fails or is stopped leaves its copy as far as it got. With
`--store` the outputs go into the notebooks themselves, without progress bars, times and everything else that differs
from run to run or tells of the machine. Such a run works in a temporary folder, where nothing of earlier ones lies.
"""

import argparse
import asyncio
import atexit
import base64
import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path

try:
    import nbformat
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from PIL import Image
except ModuleNotFoundError as error:
    sys.exit(f"{error.name} is not installed for {sys.executable}; `make run` uses the Python in .venv, which has it.")
except KeyboardInterrupt:
    sys.exit(130)

HERE = Path(__file__).resolve().parent
PROGRESS_BAR = re.compile(r"\[\d+:\d\d[<,]")
STOPPED = 130  # the exit status of a program that Ctrl-C ended
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Failed(Exception):
    """A notebook did not get to its end; the text says why."""


class TalkativeClient(NotebookClient):
    """Shows the notebook's text output while it runs; nbclient alone would be silent for minutes.

    In each cell, the first Ctrl-C is what Jupyter's stop button is, so that training ends with its best epoch. A second
    one ends everything, and so does a reader that closes the pipe.
    """

    ended = False

    async def async_start_new_kernel(self, **kwargs):
        """Listen for Ctrl-C from here on, because nbclient has just set handlers of its own that end in an error."""
        self.loop = asyncio.get_running_loop()
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError):  # on Windows there are none
                self.loop.remove_signal_handler(number)
            signal.signal(number, self.end)
        self.on_cell_start = self.listen
        await super().async_start_new_kernel(**kwargs)

    def listen(self, cell, cell_index):
        if self.ended:  # while the kernel was starting
            raise DeadKernelError
        signal.signal(signal.SIGINT, self.interrupt)

    def interrupt(self, *_):
        signal.signal(signal.SIGINT, self.end)
        self.soon(lambda: self.km.interrupt_kernel())

    def end(self, *_):
        """nbclient notices within a second that its kernel is gone, and tidies up as after any kernel that died."""
        self.ended = True
        self.soon(lambda: self.km.provisioner.kill())

    def soon(self, action: Callable[[], Coroutine]) -> None:
        """A signal can come in the middle of anything, so its work waits until the event loop gets to it."""

        async def act():
            with contextlib.suppress(AttributeError, RuntimeError):  # there is no kernel yet, or no longer
                await action()

        self.loop.call_soon_threadsafe(lambda: asyncio.ensure_future(act()))

    def output(self, outs, msg, display_id, cell_index):
        if msg["header"]["msg_type"] == "stream":
            stream = sys.stderr if msg["content"]["name"] == "stderr" else sys.stdout
            try:
                stream.write(msg["content"]["text"])
                stream.flush()
            except BrokenPipeError:
                self.end()
        return super().output(outs, msg, display_id, cell_index)


def run(path: Path, store: bool, copies: Path) -> int:
    """Execute one notebook from its own folder and write the result, as far as it got. Returns the exit status."""
    print(f"\n=== {path.stem} ===", flush=True)
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # nothing of an earlier run is taken for this one's
            cell.outputs, cell.execution_count = [], None
    try:
        execute(notebook)
    except (Failed, KeyboardInterrupt) as error:
        write(notebook, copies / path.name)
        failed = isinstance(error, Failed)
        print(f"\nHow far it got is in {copies / path.name}", file=sys.stderr)
        print(f"{path.name} {f'stopped: {error}' if failed else 'was stopped.'}", file=sys.stderr)
        return 1 if failed else STOPPED
    if store:
        write_pictures(notebook)
        drop_pages(notebook)
        shrink_pictures(notebook)
    write(notebook, path if store else copies / path.name)
    print(f"=== {path.stem}: {time.perf_counter() - started:.0f} s ===", flush=True)
    return 0


def execute(notebook: nbformat.NotebookNode) -> None:
    """Run all cells in a kernel. Raises `Failed` where one fails, and KeyboardInterrupt where the reader stops it."""
    client = TalkativeClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors; its warnings are not about this notebook
        resources={"metadata": {"path": str(HERE)}},
    )
    client.log.disabled = True  # what it would log is said below
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        client.execute()
    except CellExecutionError as error:
        if client.ended or error.ename == "KeyboardInterrupt":
            raise KeyboardInterrupt from None
        raise Failed(f"{error.ename}: {error.evalue}") from None
    except (NoSuchKernel, RuntimeError, OSError) as error:
        if client.ended:
            raise KeyboardInterrupt from None
        if isinstance(error, DeadKernelError):
            raise Failed(
                "its Python process ended too early, most often because the memory was full; "
                "close other programs, or take fewer or smaller images (IMAGE_SIZE)."
            ) from None
        raise Failed(
            f"no Python process could be started for it ({error}); `make setup` installs what it needs."
        ) from None
    finally:
        atexit.unregister(client._cleanup_kernel)  # nbclient leaves it behind where no kernel started
        for number, handler in handlers.items():
            signal.signal(number, handler)


def write(notebook: nbformat.NotebookNode, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(cleaned(notebook), target)
    except OSError as error:
        raise Failed(f"{target} cannot be written: {error.strerror}.") from None


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without progress bars and run times, so that two runs that show the same are the same file."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            if output.output_type == "stream":
                lines = re.split(r"[\r\n]", output.text)
                output.text = "\n".join(line for line in lines if line.strip() and not PROGRESS_BAR.search(line)) + "\n"
        cell.outputs = [o for o in cell.outputs if o.output_type != "stream" or o.text.strip()]
    return notebook


def write_pictures(notebook: nbformat.NotebookNode) -> None:
    """A cell tagged with the name of a picture in the README gives the README that picture."""
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.endswith((".png", ".jpg")):
                (picture,) = (o.data for o in cell.outputs if "data" in o)
                encoded = picture.get("image/jpeg") or picture["image/png"]
                (HERE.parent / tag).write_bytes(base64.b64decode(encoded))


def drop_pages(notebook: nbformat.NotebookNode) -> None:
    """A stored notebook has no explorer in it: that would be megabytes, and GitHub shows no page inside a page."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [o for o in cell.outputs if "<iframe" not in o.get("data", {}).get("text/html", "")]


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Stored pictures have 256 colours, or are JPEG where that is much smaller, as it is for sheets of photographs.

    No eye tells the difference, and a notebook stays small enough to be shown.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                stored = base64.b64decode(data["image/png"])
                few_colours, jpeg = io.BytesIO(), io.BytesIO()
                with Image.open(io.BytesIO(stored)) as picture:
                    rgb = picture.convert("RGB")
                rgb.quantize(256, dither=Image.Dither.NONE).save(few_colours, "PNG", optimize=True)
                rgb.save(jpeg, "JPEG", quality=75, optimize=True)
                smaller = min(stored, few_colours.getvalue(), key=len)
                if jpeg.tell() < 0.8 * len(smaller):
                    del data["image/png"]
                    data["image/jpeg"] = base64.b64encode(jpeg.getvalue()).decode()
                else:
                    data["image/png"] = base64.b64encode(smaller).decode()


def main() -> int:
    """The exit status: 0, or why it ended early (1: a notebook failed; 2: there is none of that name; 130: stopped)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", default=["01", "02", "03"], help="which notebooks, for example: 01 02 03")
    parser.add_argument("--store", action="store_true", help="keep the outputs in the notebooks themselves")
    arguments = parser.parse_args()
    os.environ.setdefault("TENSORBOARD", "0")  # there is no browser here to show it in
    try:
        from recognizer.settings import LOGS, WORKSPACE  # here: PyTorch takes seconds, and Ctrl-C may come meanwhile

        page, started = WORKSPACE / "explorer.html", time.time()
        with tempfile.TemporaryDirectory() as workspace:
            if arguments.store:
                os.environ["RECOGNIZER_WORKSPACE"] = workspace
            for number in arguments.numbers:
                found = sorted(HERE.glob(f"{number}_*.ipynb"))
                if not found:
                    print(f"There is no notebook {number}_….ipynb in {HERE.name}.", file=sys.stderr)
                    return 2
                if status := run(found[0], arguments.store, LOGS / "notebooks"):
                    return status
        if page.exists() and page.stat().st_mtime >= started:
            print(f"\nTo explore your network, open {page} in a browser.")
        return 0
    except Failed as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        print("\nStopped.", file=sys.stderr)
        return STOPPED


if __name__ == "__main__":
    for name in ("stdout", "stderr"):  # to a file or a pipe, Windows would write in a code page without arrows
        stream = getattr(sys, name) or io.TextIOWrapper(io.BytesIO())  # None: whoever started this has closed it
        own = stream.isatty() or "PYTHONIOENCODING" in os.environ
        stream.reconfigure(encoding=None if own else "utf-8", errors="replace")
        setattr(sys, name, stream)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidy up as after Ctrl-C
    warnings.simplefilter("ignore", FutureWarning)  # nbformat's, about notebooks that other programs wrote
    status = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # Python would try once more, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
