"""The command line. Each command imports what it needs itself: TFX alone takes ten seconds."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import signal
import sys
import time
import typing

import rich.console
import typer
from rich.markup import escape

from pipeline.startup import load_tensorflow, prepare

FAILED, USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="fovea",
    help="Train, evaluate, bless and serve attention models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
err = rich.console.Console(stderr=True, highlight=False)

HomeOption = typing.Annotated[
    str | None,
    typer.Option("--home", envvar="FOVEA_HOME", help="Folder of all state.", show_default="./.fovea"),
]
SetOption = typing.Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Change a setting; may be repeated.")
]
JsonOption = typing.Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
ConfigArgument = typing.Annotated[pathlib.Path, typer.Argument(metavar="CONFIG", help="A YAML file.")]


class CommandError(Exception):
    """What ends a command: a sentence for the user, and the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


@app.command()
def check(config: ConfigArgument, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Check a configuration and a sample of its data; report all errors at once."""
    load_tensorflow()
    from pipeline import check as checking
    from pipeline.config import ConfigError, load

    try:
        report = checking.check(load(config, set_ or ()))
    except ConfigError as error:
        if json_:
            _print_json({"problems": [f"{problem.path}: {problem.text}" for problem in error.problems]})
        raise CommandError(str(error), USAGE) from error
    if json_:
        _print_json(dataclasses.asdict(report))
    else:
        checking.show(report, err)
    if report.problems:
        raise typer.Exit(USAGE)


@app.command()
def run(config: ConfigArgument, set_: SetOption = None, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Run the pipeline: from raw rows to a blessed, pushed model."""
    began_s = time.monotonic()
    from components import tracking_store
    from pipeline.home import Home

    err.print(f"[bold]fovea run[/] {escape(str(config))}", soft_wrap=True)
    place = Home.at(home)
    with tracking_store.made_beside(place.tracking("")):
        load_tensorflow()
        settings = _load(config, set_)
        err.print(f"  → {settings.name} in {escape(str(place.root))}", soft_wrap=True)
        from pipeline import console
        from pipeline import run as running

    _require_inputs(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill ends the MLflow run, too
    finished = running.execute(settings, place, err)
    if json_:
        _print_json(dataclasses.asdict(finished.result))
    else:
        console.summarize(rich.console.Console(highlight=False), finished, time.monotonic() - began_s)


@app.command()
def tune(config: ConfigArgument, set_: SetOption = None, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Search over parameters (the section `tune`): trainings, the best of which says how to run."""
    load_tensorflow()
    from pipeline import tune as tuning
    from pipeline.home import Home

    settings = _load(config, set_)
    if settings.tune is None:
        example = "tune: {parameters: {model.units: [128, 256]}}"
        raise CommandError(f"{config} has no section tune, expected one such as {example}", USAGE)
    _require_inputs(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    result = tuning.execute(settings, Home.at(home), err)
    if json_:
        _print_json(dataclasses.asdict(result))
    else:
        command = ["fovea", "run", str(config), *(part for change in set_ or () for part in ("--set", change))]
        command += ["--home", home] if home else []
        tuning.show(result, command, rich.console.Console(highlight=False))


@app.command()
def evaluate(
    model: typing.Annotated[str, typer.Option("--model", help="Name of a pushed model, or path of a SavedModel.")],
    data: typing.Annotated[pathlib.Path, typer.Option("--data", help="Labelled rows: TSV or JSONL, also .gz.")],
    output: typing.Annotated[
        pathlib.Path | None, typer.Option("--output", help="Write each row with its prediction, as JSONL.")
    ] = None,
    columns: typing.Annotated[
        str, typer.Option("--columns", help="Where the texts are, such as source=1,target=2,references=3+4, or names.")
    ] = "",
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Metrics of an exported model on any labelled file."""
    load_tensorflow()
    from pipeline import evaluate as evaluating
    from pipeline.home import Home

    try:
        chosen = evaluating.parse_columns(columns)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error
    report = evaluating.evaluate(Home.at(home).find_model(model), data, chosen, output, err)
    if json_:
        _print_json(report.document())
    else:
        evaluating.show(report, rich.console.Console(highlight=False))


@app.command()
def predict(
    texts: typing.Annotated[
        list[str],
        typer.Argument(metavar="TEXT_OR_FILE...", help="Texts, files of one a line, or recordings."),
    ],
    model: typing.Annotated[
        str | None,
        typer.Option("--model", help="Name of a pushed model, or path; with --server, its name there."),
    ] = None,
    server: typing.Annotated[
        str | None,
        typer.Option("--server", metavar="HOST:PORT", help="Ask a model server (gRPC, or http://)."),
    ] = None,
    n_best: typing.Annotated[int | None, typer.Option("--n-best", min=1, help="This many answers each.")] = None,
    attention: typing.Annotated[
        pathlib.Path | None, typer.Option("--attention", metavar="PNG", help="Draw the attention.")
    ] = None,
    prefix: typing.Annotated[str | None, typer.Option("--prefix", help="Each answer begins with this.")] = None,
    seed: typing.Annotated[
        int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Draw each answer by this seed.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Answers of a model, here or on a server."""
    if not model and not server:
        raise CommandError("predict needs --model or --server", USAGE)
    from pipeline import predict as predicting
    from pipeline.home import Home

    try:
        wanted = predicting.Wanted(n_best, attention is not None, prefix, seed)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error
    if server:
        predictor = predicting.connect(server, model)
    else:
        path = Home.at(home).find_model(str(model))
        load_tensorflow()
        predictor = predicting.load(path)
    questions = predicting.read(texts)
    answers = predicting.answer(predictor, questions, wanted)
    if attention:
        predicting.draw(answers, questions, attention, err)
    if json_:
        _print_json([answer.document() for answer in answers])
    else:
        predicting.show(answers)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def serve(context: typer.Context) -> None:
    """Serve a model over TensorFlow Serving's gRPC and REST APIs; takes TensorFlow Serving's flags."""
    from serving import server

    server.run(context.args)


@app.command()
def export(
    output: typing.Annotated[pathlib.Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet.")],
    model: typing.Annotated[str, typer.Option("--model", help="Name of a pushed model, or path of a SavedModel.")],
    format_: typing.Annotated[
        typing.Literal["savedmodel", "ctranslate2"], typer.Option("--format", help="ctranslate2 is for Transformers.")
    ] = "savedmodel",
    set_: SetOption = None,
    home: HomeOption = None,
) -> None:
    """A trained model made anew: with another search (--set decoding.beam_size=8), or in another format."""
    load_tensorflow()
    from pipeline import exporting
    from pipeline.home import Home

    path = Home.at(home).find_model(model)
    try:
        exporting.export(path, output, format_, set_ or [])
    except (ValueError, FileExistsError) as error:
        raise CommandError(str(error), USAGE) from error
    err.print(f"{escape(str(output))}: {path.name} for {format_}", soft_wrap=True)


@app.command()
def sync(home: HomeOption = None, json_: JsonOption = False) -> None:
    """Bring to MLflow what it could not take during runs, and close runs that were killed."""
    from pipeline import sync as syncing
    from pipeline.home import Home

    synced = syncing.sync(Home.at(home))
    if json_:
        _print_json(dataclasses.asdict(synced))
    else:
        syncing.show(synced, rich.console.Console(highlight=False))
    if synced.waiting:
        raise typer.Exit(FAILED)


@app.command()
def models(home: HomeOption = None, json_: JsonOption = False) -> None:
    """What is trained, blessed, pushed and registered; runs that were killed are closed, too."""
    from pipeline import lineage
    from pipeline import sync as syncing
    from pipeline.home import Home

    place = Home.at(home)
    syncing.close_all_killed(place)
    known = lineage.models(place)
    if json_:
        _print_json([dataclasses.asdict(model) for model in known])
    else:
        lineage.show(known, rich.console.Console(highlight=False))


NameArgument = typing.Annotated[str, typer.Argument(metavar="NAME", help="Of a pipeline.")]


@app.command()
def promote(
    name: NameArgument,
    version: typing.Annotated[str, typer.Argument(metavar="VERSION", help="Of the registered model.")],
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Make a registered version the champion: it is pushed again, as the newest, and so served."""
    from pipeline import promotion
    from pipeline.home import Home

    _promoted(lambda: promotion.promote(Home.at(home), name, version), json_)


@app.command()
def rollback(name: NameArgument, home: HomeOption = None, json_: JsonOption = False) -> None:
    """Make the champion before this one the champion again."""
    from pipeline import promotion
    from pipeline.home import Home

    _promoted(lambda: promotion.rollback(Home.at(home), name), json_)


def _promoted(act: typing.Callable[[], typing.Any], json_: bool) -> None:
    """Do it, and say what is served now."""
    from pipeline.promotion import PromotionError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill takes back a push without its alias
    try:
        done = act()
    except PromotionError as error:
        raise CommandError(str(error)) from error
    if json_:
        _print_json(dataclasses.asdict(done))
    else:
        was = f", not {done.was}" if done.was else ""
        print(f"version {done.version} of {done.name} is the champion{was}: served as {done.pushed_as}, {done.path}")


@app.command()
def compare(
    first: typing.Annotated[str, typer.Argument(metavar="RUN", help="Id of an MLflow run, its beginning, or a name.")],
    second: typing.Annotated[str, typer.Argument(metavar="RUN", help="The one that is held against it.")],
    home: HomeOption = None,
    json_: JsonOption = False,
) -> None:
    """Two runs: what differs in their parameters, and which is better on the rows that both judged."""
    from pipeline import compare as comparing
    from pipeline.home import Home

    try:
        comparison = comparing.compare_in(Home.at(home).stores(), first, second)
    except LookupError as error:
        raise CommandError(str(error)) from error
    if json_:
        _print_json(dataclasses.asdict(comparison))
    else:
        comparing.show(comparison, rich.console.Console(highlight=False))


@app.command()
def ui(
    home: HomeOption = None,
    port: typing.Annotated[int, typer.Option("--port", help="Of the page, on this machine.")] = 5000,
) -> None:
    """MLflow's UI on the runs."""
    from pipeline.home import Home

    place = Home.at(home)
    place.root.mkdir(parents=True, exist_ok=True)
    store = place.tracking("")
    for other in place.stores():
        if other.uri != store.uri:
            err.print(f"runs of {other.experiment} are in MLflow at {escape(other.name())}", soft_wrap=True)
    err.print(f"MLflow on http://127.0.0.1:{port} (Ctrl-C ends it)")
    arguments = ["ui", "--backend-store-uri", store.uri, "--host", "127.0.0.1", "--port", str(port)]
    arguments += ["--workers", "1"]  # MLflow's four are for many people
    store.settle()
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])


def _print_json(document: typing.Any) -> None:
    """One document on standard output."""
    from pipeline.result import to_json

    print(to_json(document).encode(errors="backslashreplace").decode())


def _require_inputs(settings: typing.Any) -> None:
    """Before a run is opened."""
    from components import example_gen, sources

    try:
        example_gen.find_inputs(settings.data)
    except sources.SourceError as error:
        raise CommandError(f"data.source: {error}", USAGE) from error


def _load(path: pathlib.Path, changes: list[str] | None) -> typing.Any:
    from pipeline import config

    try:
        return config.load(path, changes or ())
    except config.ConfigError as error:
        raise CommandError(str(error), USAGE) from error


def main() -> None:
    """The entry point `fovea`: 0 done, 1 failed, 2 wrong usage or configuration."""
    prepare()
    code = _run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # everything is written; TensorFlow's and Beam's own teardown takes four seconds


def _run() -> int:
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            err.print("[yellow]interrupted[/]")
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except CommandError as error:
        err.print("[red]error:[/]", end=" ")
        err.print(str(error), soft_wrap=True, markup=False)
        return error.code
    except Exception as error:  # the last line of defence: one sentence, and the traceback for those who ask
        if os.environ.get("FOVEA_DEBUG"):
            err.print_exception()
        err.print("[red]error:[/]", end=" ")
        err.print(f"{type(error).__name__}: {error}", soft_wrap=True, markup=False)
        err.print("[dim](FOVEA_DEBUG=1 shows where it came from)[/]")
        return FAILED
    return 0


if __name__ == "__main__":
    main()
