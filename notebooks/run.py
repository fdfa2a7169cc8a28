"""Run notebooks in order from a terminal, and show what they print: `python notebooks/run.py 01 02 03`.

The executed copies go to `logs/notebooks/`. A notebook that fails or is stopped leaves a copy with the outputs so far.
With `--store`, the outputs go into the notebooks themselves, without progress bars, times and anything else that
differs between runs or machines. Such a run works in an empty temporary folder.
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
    """A notebook did not run to its end. The text says why."""


class TalkativeClient(NotebookClient):
    """Shows the notebook's text output while it runs. nbclient alone would be silent for minutes.

    In every cell, the first Ctrl-C acts like Jupyter's stop button, so that training ends with its best epoch. A second
    one ends everything, and so does a program that closes the output pipe.
    """

    ended = False

    async def async_start_new_kernel(self, **kwargs):
        """Handle Ctrl-C from here on, because nbclient has just set its own handlers, which end in an error."""
        self.loop = asyncio.get_running_loop()
        for number in SIGNALS:
            with contextlib.suppress(NotImplementedError):  # Windows has no such handlers
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
        """End the kernel. nbclient notices this within a second, and cleans up as after any kernel that died."""
        self.ended = True
        self.soon(lambda: self.km.provisioner.kill())

    def soon(self, action: Callable[[], Coroutine]) -> None:
        """Let the event loop run `action`, because a signal can arrive in the middle of anything."""

        async def act():
            with contextlib.suppress(AttributeError, RuntimeError):  # there is no kernel yet, or no kernel any more
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
    """Execute one notebook in its own folder and write the result, even if incomplete. Returns the exit status."""
    print(f"\n=== {path.stem} ===", flush=True)
    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":  # outputs of an earlier run must not look like new ones
            cell.outputs, cell.execution_count = [], None
    try:
        execute(notebook)
    except (Failed, KeyboardInterrupt) as error:
        write(notebook, copies / path.name)
        failed = isinstance(error, Failed)
        print(f"\nThe outputs so far are in {copies / path.name}", file=sys.stderr)
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
    """Run all cells in a kernel. Raises `Failed` if one fails, and KeyboardInterrupt if the user stops it."""
    client = TalkativeClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only; warnings are not about this notebook
        resources={"metadata": {"path": str(HERE)}},
    )
    client.log.disabled = True  # its messages are printed below
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
                "its Python process ended too early, usually because the memory was full; "
                "close other programs, or use fewer or smaller images (IMAGE_SIZE)."
            ) from None
        raise Failed(
            f"no Python process could be started for it ({error}); `make setup` installs what it needs."
        ) from None
    finally:
        atexit.unregister(client._cleanup_kernel)  # nbclient leaves it behind if no kernel started
        for number, handler in handlers.items():
            signal.signal(number, handler)


def write(notebook: nbformat.NotebookNode, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(cleaned(notebook), target)
    except OSError as error:
        raise Failed(f"{target} cannot be written ({error.strerror}); check the disk and the permissions.") from None


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove progress bars and run times, so that two runs with the same results give the same file."""
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
    """Write the picture of a cell that is tagged with a file name to that file, for the README or a first cell."""
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            if tag.endswith((".png", ".jpg")):
                (picture,) = (o.data for o in cell.outputs if "data" in o)
                encoded = base64.b64decode(picture.get("image/jpeg") or picture["image/png"])
                if tag.endswith(".jpg") and "image/jpeg" not in picture:
                    jpeg = io.BytesIO()
                    Image.open(io.BytesIO(encoded)).convert("RGB").save(jpeg, "JPEG", quality=80, optimize=True)
                    encoded = jpeg.getvalue()
                (HERE.parent / tag).write_bytes(encoded)


def drop_pages(notebook: nbformat.NotebookNode) -> None:
    """Remove the explorer from a stored notebook: it has megabytes, and GitHub does not show a page inside a page."""
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [o for o in cell.outputs if "<iframe" not in o.get("data", {}).get("text/html", "")]


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Reduce stored pictures to 256 colours, or to JPEG if that is much smaller, as it is for sheets of photographs.

    The difference is invisible, and a notebook stays small enough to be shown.
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
    """The exit status: 0 for success, 1 if a notebook failed, 2 if there is none with that number, 130 if stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", default=["01", "02", "03"], help="which notebooks, for example: 01 02 03")
    parser.add_argument("--store", action="store_true", help="keep the outputs in the notebooks themselves")
    arguments = parser.parse_args()
    os.environ.setdefault("TENSORBOARD", "0")  # there is no browser to show it in
    try:
        from recognizer.settings import LOGS, WORKSPACE  # here, because the import takes seconds and Ctrl-C may come

        page, started = WORKSPACE / "explorer.html", time.time()
        with tempfile.TemporaryDirectory() as workspace:
            if arguments.store:
                os.environ["RECOGNIZER_WORKSPACE"] = workspace
            for number in arguments.numbers:
                paths = sorted([*HERE.glob(f"{number}_*.ipynb"), *HERE.glob(f"0{number}_*.ipynb")])
                if not paths:
                    print(f"There is no notebook {number}_….ipynb in {HERE.name}; try 01.", file=sys.stderr)
                    return 2
                if status := run(paths[0], arguments.store, LOGS / "notebooks"):
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
    for name in ("stdout", "stderr"):  # Windows would write to a file or pipe in an encoding without arrows
        stream = getattr(sys, name) or io.TextIOWrapper(io.BytesIO())  # None if the parent process has closed it
        own = stream.isatty() or "PYTHONIOENCODING" in os.environ
        stream.reconfigure(encoding=None if own else "utf-8", errors="replace")
        setattr(sys, name, stream)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # clean up as after Ctrl-C
    warnings.simplefilter("ignore", FutureWarning)  # from nbformat, about notebooks by other programs
    status = main()
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # Python would flush again, and print an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)
