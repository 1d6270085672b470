"""The user function of TFX's Tuner: functions only, since TFX loads this module anew."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import typing

from tfx.components.tuner.component import TunerFnResult

from components import settings, trainer, trials


def tuner_fn(fn_args: typing.Any) -> TunerFnResult:
    """The search that a configuration asks for. Called by TFX's Tuner."""
    request = settings.from_json(trials.Request, fn_args.custom_config)
    rows = json.dumps([fn_args.train_files, fn_args.eval_files, request.tokenizer_uri])  # of each version a search
    digest = hashlib.sha256(rows.encode()).hexdigest()[:16]
    request = dataclasses.replace(request, folder=os.path.join(request.folder, digest))
    data = trainer.Data.of(fn_args.train_files, fn_args.eval_files, request.tokenizer_uri)
    return TunerFnResult(tuner=trials.Trials(request, data), fit_kwargs={"verbose": 0})
