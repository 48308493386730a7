"""Six models, each drawn by its peers and by gradviz, side by side: ``python scripts/peers.py``.

Writes peers/index.html. Peers come with the extra `bench`; some need `dot`, torchvista Chromium.
"""

# ruff: noqa: D101, D102 - the models are what their names say
import base64
import html
import itertools
import shutil
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import gradviz as gv


class Block(nn.Module):
    """Two convolutions of a ResNet, and the way around them."""

    def __init__(self, inside, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            short = nn.Conv2d(inside, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width))
        sizes = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(Block(a, b, 1 + (a != b)), Block(b, b))
                for a, b in itertools.pairwise(sizes)
            )
        )
        self.fc = nn.Linear(8 * width, 10)

    def forward(self, x):
        return self.fc(self.stages(F.relu(self.stem(x))).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self, c=8, depth=3):
        super().__init__()
        self.first = self.double(1, c)
        self.down = nn.ModuleList(self.double(c << i, c << i + 1) for i in range(depth))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(c << i + 1, c << i, 2, 2) for i in reversed(range(depth))
        )
        self.merge = nn.ModuleList(self.double(c << i + 1, c << i) for i in reversed(range(depth)))
        self.out = nn.Conv2d(c, 2, 1)

    @staticmethod
    def double(a, b):
        layers = nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.Conv2d(b, b, 3, padding=1), nn.ReLU()
        return nn.Sequential(*layers)

    def forward(self, x):
        skips = [self.first(x)]
        for down in self.down:
            skips.append(down(F.max_pool2d(skips[-1], 2)))
        x = skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], 1))
        return self.out(x)


class GPT(nn.Module):
    def __init__(self, d=32, depth=6, words=50):
        super().__init__()
        self.embed = nn.Embedding(words, d)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(d, 4, 4 * d, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.embed(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.fc = nn.Linear(24, 4)

    def forward(self, tokens):
        return self.fc(self.lstm(self.embed(tokens))[0][:, -1])


class Seq2Seq(nn.Module):
    def __init__(self, words=30, d=16):
        super().__init__()
        self.source, self.target = nn.Embedding(words, d), nn.Embedding(words, d)
        self.encoder = nn.GRU(d, d, batch_first=True)
        self.decoder = nn.GRUCell(2 * d, d)
        self.out = nn.Linear(d, words)

    def forward(self, tokens):
        states, h = self.encoder(self.source(tokens))
        h, said = h[0], []
        for t in range(tokens.shape[1]):
            attention = torch.softmax((states @ h[..., None])[..., 0], -1)
            context = (attention[..., None] * states).sum(1)
            h = self.decoder(torch.cat([self.target(tokens[:, t]), context], -1), h)
            said.append(self.out(h))
        return torch.stack(said, 1)


def models():
    tokens = torch.randint(30, (2, 8))
    yield "ResNet-18", ResNet18(), torch.randn(2, 3, 64, 64)
    yield "UNet", UNet(), torch.randn(1, 1, 32, 32)
    yield "GPT", GPT(), tokens
    yield "LSTM classifier", Classifier(), tokens
    yield "MLP", nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 4)), torch.randn(5, 8)
    yield "Seq2seq", Seq2Seq(), tokens


def torchview(model, x, path):
    from torchview import draw_graph

    drawn = draw_graph(model, input_data=x, expand_nested=True).visual_graph
    path.write_bytes(drawn.pipe("svg"))


def torchviz(model, x, path):
    from torchviz import make_dot

    drawn = make_dot(model(x).sum(), params=dict(model.named_parameters()))
    path.write_bytes(drawn.pipe("svg"))


def torchlens(model, x, path):
    import torchlens as tl

    tl.trace(model, x).draw(
        vis_outpath=str(path.with_suffix("")), vis_fileformat="svg", vis_save_only=True
    )


def gradviz(model, x, path):
    gv.trace(model, x, loss=lambda out: out.square().mean()).save(path)


def torchvista(model, x, path):
    """Its picture is made in a browser: a screenshot of its page."""
    import torchvista
    from playwright.sync_api import sync_playwright

    page = path.with_suffix(".html")
    torchvista.trace_model(model, x, collapse_modules_after_depth=9, export_path=str(page))
    found = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=next(filter(None, found), None),
            args=["--no-sandbox"],
        )
        shown = browser.new_page(viewport={"width": 900, "height": 820})
        shown.goto(page.resolve().as_uri())
        shown.wait_for_timeout(4000)
        shown.screenshot(path=path.with_suffix(".png"))
        browser.close()


PEERS = gradviz, torchview, torchviz, torchvista, torchlens  # the last one wraps torch for good


def cell(peer, name, model, x, folder):
    """The picture, or why there is none."""
    path = folder / f"{name}-{peer.__name__}.svg".replace(" ", "-")
    start = time.perf_counter()
    try:
        peer(model, x, path)
        path = path if path.exists() else path.with_suffix(".png")
        kind = {".svg": "svg+xml"}.get(path.suffix, "png")
        picture = base64.b64encode(path.read_bytes()).decode()
    except Exception as error:  # whatever a peer raises is what its cell says
        return f"<td>{html.escape(f'{type(error).__name__}: {error}'[:300])}"
    seconds = time.perf_counter() - start
    return f'<td><img src="data:image/{kind};base64,{picture}"><p>{seconds:.1f} s'


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    drawn = list(models())
    rows = [f"<tr><th>{name}" for name, _, _ in drawn]
    for peer in PEERS:
        for n, (name, model, x) in enumerate(drawn):
            rows[n] += cell(peer, name, model, x, folder)
    rows.insert(0, "<tr><th>" + "".join(f"<th>{peer.__name__}" for peer in PEERS))
    style = "td{width:19vw;vertical-align:top;border:1px solid #ccc} img{max-width:100%}"
    page = (
        f"<!doctype html><meta charset=utf-8><style>{style}</style><table>{''.join(rows)}</table>"
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "peers"))
