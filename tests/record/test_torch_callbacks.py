"""Trainings by trainers of others, watched and recorded, with the real packages."""

import math
import warnings

import numpy as np
import pytest

import gradviz as gv

torch = pytest.importorskip("torch")
from torch import nn

BAD = 3


class Net(nn.Module):
    """Its loss is the logarithm of a negative number where the data are."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x, **_):
        return {"loss": torch.log(self.net(x).square().mean() * x[0, 0])}


class Data(torch.utils.data.IterableDataset):
    """Of six steps of two batches of two; those of one are bad."""

    def __init__(self, bad, wrap):
        self.bad, self.wrap = bad, wrap

    def __iter__(self):
        for i in range(24):
            x = torch.randn(6)
            x[0] = -1 if i // 4 == self.bad else 1
            yield self.wrap(x)


def by_lightning(callbacks, bad, folder):
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.inner = Net()

        def training_step(self, x, _):
            return self.inner(x)["loss"]

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-4)

    module = Module()
    trainer = lightning.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", accumulate_grad_batches=2,
        gradient_clip_val=1.0, callbacks=callbacks, default_root_dir=folder,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(Data(bad, lambda x: x), batch_size=2))
    return module.inner


def by_transformers(callbacks, bad, folder):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    net, data = Net(), Data(bad, lambda x: {"x": x})
    arguments = transformers.TrainingArguments(
        output_dir=folder, max_steps=6, per_device_train_batch_size=2, report_to=[],
        gradient_accumulation_steps=2, save_strategy="no", disable_tqdm=True, use_cpu=True,
        learning_rate=1e-4, remove_unused_columns=False,
    )  # fmt: skip
    transformers.Trainer(net, arguments, train_dataset=data, callbacks=callbacks).train()
    return net


@pytest.mark.filterwarnings("ignore")  # theirs: of a loader without workers, say
@pytest.mark.parametrize(
    ("train", "callback"),
    [(by_lightning, gv.lightning_callback), (by_transformers, gv.transformers_callback)],
)
def test_a_trainer_of_others_is_watched_and_recorded_as_it_would_have_trained(
    train, callback, tmp_path
):
    def run(callbacks, bad=None):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net = train(callbacks, bad, tmp_path)
        return [p.detach().clone() for p in net.parameters()]

    plain = run([])
    follows = callback(tmp_path / "run.gvtrain", every=2, out=tmp_path / "healthy")
    assert all(map(torch.equal, run([follows]), plain))
    assert follows.watch.reports == []
    recorded = gv.load_training(tmp_path / "run.gvtrain")
    assert [(s.number, len(s.losses), s.stepped) for s in recorded.steps] == [
        (0, 2, True), (2, 2, True), (4, 2, True),
    ]  # fmt: skip
    follows = callback(tmp_path / "sick.gvtrain", every=1, on_trigger="stop", out=tmp_path / "sick")
    run([follows], BAD)
    (report,) = follows.watch.reports
    assert (report.alarm.kind, report.step) == ("loss not finite", BAD)
    assert report.finding.operation == "log"
    assert [s.number for s in gv.load_training(tmp_path / "sick.gvtrain").steps] == [0, 1, 2, 3]
    assert not math.isfinite(gv.load_training(tmp_path / "sick.gvtrain").steps[-1].loss)


def test_tensorboard_shows_a_picture_by_one_line(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    drawing = gv.examples.backprop_222().draw()
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("step", drawing.pixels, 7, dataformats="HWC")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (image,) = events.Images("step")
    assert (image.step, image.height, image.width) == (7, *drawing.pixels.shape[:2])
    assert np.ptp(drawing.pixels) == 255
