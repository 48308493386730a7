"""Models that many draw, with the names of PyTorch: small, but their structure is real."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torch_programs
from torch import nn

MODELS = {}


def model(make):
    """Enter a function that returns a module or function, its arguments and its loss."""
    MODELS[make.__name__] = make
    return make


MODELS["resnet"] = torch_programs.resnet


@model
def gpt():
    return torch_programs.gpt(vocabulary=50, width=32, heads=4, layers=6, tokens=8)


def against(*targets):
    """Cross-entropy of the last dimension with these classes."""
    return lambda o: F.cross_entropy(o.reshape(len(targets), -1), torch.tensor(targets))


class DoubleConv(nn.Sequential):
    def __init__(self, before, after):
        super().__init__(
            nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        )  # fmt: skip


class UNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.inc = DoubleConv(1, width)
        self.pool = nn.MaxPool2d(2)
        self.downs = nn.ModuleList(map(DoubleConv, widths, widths[1:]))
        up = widths[:0:-1], widths[-2::-1]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in zip(*up, strict=True))
        self.convs = nn.ModuleList(map(DoubleConv, *up))
        self.outc = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        skips = [self.inc(x)]
        for down in self.downs:
            skips.append(down(self.pool(skips[-1])))
        x = skips.pop()
        for up, conv in zip(self.ups, self.convs, strict=True):
            x = conv(torch.cat([skips.pop(), up(x)], 1))
        return self.outc(x)


@model
def unet():
    targets = torch.randint(0, 2, (1, 16, 16))
    return UNet(), (torch.randn(1, 1, 16, 16),), lambda o: F.cross_entropy(o, targets)


class RMSNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotated(x):
    """Rotary embedding: pairs of numbers turned by an angle that grows with the position."""
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[-2]), 1e4 ** (-torch.arange(half) / half))
    cos, sin = (f(torch.cat((angles, angles), -1)) for f in (torch.cos, torch.sin))
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class LlamaAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(width, width, bias=False))

    def forward(self, x):
        def split(y):
            return y.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = rotated(split(self.q_proj(x))), rotated(split(self.k_proj(x))), self.v_proj(x)
        y = F.scaled_dot_product_attention(q, k, split(v), is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(x.shape))


class LlamaMLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, width, mlp):
        super().__init__()
        self.self_attn, self.mlp = LlamaAttention(width, 4), mlp
        self.input_layernorm, self.post_attention_layernorm = RMSNorm(width), RMSNorm(width)

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    def __init__(self, mlp=LlamaMLP, width=32, layers=4, vocabulary=60):
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(DecoderLayer(width, mlp(width, 64)) for _ in range(layers))
        self.norm, self.lm_head = RMSNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, ids):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x)
        logits = self.lm_head(self.norm(x))
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@model
def llama():
    return Llama(), (torch.randint(0, 60, (2, 8)),), None


class Experts(nn.Module):
    def __init__(self, width, inner, count=4):
        super().__init__()
        self.gate = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(LlamaMLP(width, inner) for _ in range(count))

    def forward(self, x):
        flat = x.flatten(0, 1)
        weights, chosen = self.gate(flat).softmax(-1).topk(2)
        found = torch.zeros_like(flat)
        for n, expert in enumerate(self.experts):
            token, place = torch.where(chosen == n)
            out = expert(flat[token]) * weights[token, place, None]
            found = found.index_add(0, token, out)
        return found.view(x.shape)


@model
def mixture_of_experts():
    return Llama(Experts, layers=2), (torch.randint(0, 60, (2, 8)),), None


class ViT(nn.Module):
    def __init__(self, width=32, layers=4, classes=5):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, 17, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, 0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.encoder(x))[:, 0])


@model
def vit():
    return ViT(), (torch.randn(2, 3, 32, 32),), against(1, 3)


class Translator(nn.Module):
    def __init__(self, width=32, vocabulary=40):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.transformer = nn.Transformer(width, 4, 3, 3, 64, 0.0, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, source, target):
        return self.head(self.transformer(self.embed(source), self.embed(target)))


@model
def encoder_decoder():
    source, target = torch.randint(0, 40, (1, 7)), torch.randint(0, 40, (1, 4))
    return Translator(), (source, target), against(1, 2, 3, 4)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.fc = nn.Embedding(50, 16), nn.Linear(48, 4)
        self.lstm = nn.LSTM(16, 24, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.fc(self.lstm(self.embed(x))[0].mean(1))


@model
def lstm_classifier():
    return Classifier(), (torch.randint(0, 50, (3, 12)),), against(0, 1, 2)


class Seq2Seq(nn.Module):
    def __init__(self, width=16, vocabulary=30):
        super().__init__()
        self.src, self.tgt = (nn.Embedding(vocabulary, width) for _ in range(2))
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRUCell(2 * width, width)
        self.score, self.out = nn.Linear(width, width), nn.Linear(2 * width, vocabulary)

    def forward(self, x, y):
        seen, h = self.encoder(self.src(x))
        h, outs = h[0], []
        for t in range(y.shape[1]):
            scores = torch.einsum("bth,bh->bt", self.score(seen), h)
            context = torch.einsum("bt,bth->bh", scores.softmax(-1), seen)
            h = self.decoder(torch.cat([self.tgt(y[:, t]), context], -1), h)
            outs.append(self.out(torch.cat([h, context], -1)))
        return torch.stack(outs, 1)


@model
def seq2seq():
    x, y = torch.randint(0, 30, (1, 7)), torch.randint(0, 30, (1, 6))
    return Seq2Seq(), (x, y), against(1, 2, 3, 4, 5, 6)


@model
def gan_step():
    generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh())
    judge = nn.Sequential(nn.Linear(16, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def step(z, real):
        loss = F.binary_cross_entropy_with_logits
        fake = judge(generator(z))
        return loss(judge(real), torch.ones(4, 1)) + loss(fake, torch.zeros(4, 1))

    return step, (torch.randn(4, 8), torch.randn(4, 16)), None


class GraphNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x, src, dst):
        for layer in (self.conv1, self.conv2, self.conv3):
            message = layer(x)[src]
            x = torch.zeros(len(x), message.shape[1]).index_add(0, dst, message).relu()
        return x.mean(0)


@model
def graph_network():
    src, dst = torch.randint(0, 10, (2, 30))
    return GraphNetwork(), (torch.randn(10, 8), src, dst), against(1)


class RungeKutta(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, y, h=0.1):
        for _ in range(10):
            k1 = self.f(y)
            k2 = self.f(y + h / 2 * k1)
            k3 = self.f(y + h / 2 * k2)
            k4 = self.f(y + h * k3)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return y


@model
def runge_kutta():
    return RungeKutta(), (torch.randn(5, 2),), lambda o: o.pow(2).mean()


class Mamba(nn.Module):
    def __init__(self, d=16, n=4):
        super().__init__()
        self.in_proj, self.out_proj = nn.Linear(d, 2 * d), nn.Linear(d, d)
        self.conv1d = nn.Conv1d(d, d, 3, groups=d, padding=2)
        self.x_proj, self.dt_proj = nn.Linear(d, 1 + 2 * n), nn.Linear(1, d)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, n + 1.0)).repeat(d, 1))
        self.D, self.norm = nn.Parameter(torch.ones(d)), nn.LayerNorm(d)

    def forward(self, u):
        x, z = self.in_proj(self.norm(u)).chunk(2, -1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., : u.shape[1]].transpose(1, 2))
        dt, b, c = self.x_proj(x).split([1, 4, 4], -1)
        dt, a = F.softplus(self.dt_proj(dt)), -self.A_log.exp()
        h, ys = torch.zeros(len(u), 16, 4), []
        for t in range(u.shape[1]):
            h = torch.exp(dt[:, t, :, None] * a) * h
            h = h + dt[:, t, :, None] * b[:, t, None, :] * x[:, t, :, None]
            ys.append((h * c[:, t, None, :]).sum(-1))
        return u + self.out_proj((torch.stack(ys, 1) + self.D * x) * F.silu(z))


@model
def mamba():
    net = nn.Sequential(nn.Linear(8, 16), Mamba(), Mamba(), nn.Linear(16, 8))
    return net, (torch.randn(2, 8, 8),), lambda o: o.pow(2).mean()


class CharRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.i2h, self.h2h, self.h2o = nn.Linear(20, 16), nn.Linear(16, 16), nn.Linear(16, 20)

    def forward(self, x):
        h, out = torch.zeros(len(x), 16), []
        for t in range(x.shape[1]):
            h = torch.tanh(self.i2h(x[:, t]) + self.h2h(h))
            out.append(self.h2o(h))
        return torch.stack(out, 1)


@model
def char_rnn():
    return CharRNN(), (torch.randn(1, 12, 20),), against(*range(12))


def roi_align(features, boxes, size=4):
    """Each box of the image as a grid of so many points of its features."""
    steps = torch.linspace(0, 1, size)
    x = boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    grid = torch.stack((x[:, None].expand(-1, size, -1), y[..., None].expand(-1, -1, size)), -1)
    return F.grid_sample(features.expand(len(boxes), -1, -1, -1), 2 * grid - 1, align_corners=False)


class RegionProposals(nn.Module):
    def __init__(self, width, anchors=3):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.cls_logits = nn.Conv2d(width, anchors, 1)
        self.bbox_pred = nn.Conv2d(width, 4 * anchors, 1)

    def forward(self, features):
        hidden = self.conv(features).relu()
        scores = self.cls_logits(hidden).flatten()
        deltas = self.bbox_pred(hidden).view(-1, 4)
        best = scores.topk(8).indices
        at = deltas.detach()[best].sigmoid()
        low, high = at[:, :2] / 2, 0.5 + at[:, 2:] / 2
        return torch.cat((low, high), 1), scores, deltas


class Detector(nn.Module):
    """Faster R-CNN: features, proposals, and two heads on what lies in each."""

    def __init__(self, width=8, classes=3):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 2, 1), nn.ReLU()
        )
        self.rpn = RegionProposals(width)
        self.box_head = nn.Sequential(nn.Flatten(), nn.Linear(16 * width, 32), nn.ReLU())
        self.cls_score, self.bbox_pred = nn.Linear(32, classes), nn.Linear(32, 4)

    def forward(self, image, box, label):
        features = self.backbone(image)
        proposals, scores, deltas = self.rpn(features)
        inside = self.box_head(roi_align(features, proposals))
        labels = label.expand(len(proposals))
        found = F.cross_entropy(self.cls_score(inside), labels)
        found = found + F.smooth_l1_loss(self.bbox_pred(inside), box.expand(len(proposals), 4))
        wanted = (torch.arange(len(scores)) % 5 == 0).float()
        found = found + F.binary_cross_entropy_with_logits(scores, wanted)
        return found + F.smooth_l1_loss(deltas, box.expand(len(deltas), 4))


@model
def detector():
    return Detector(), (torch.rand(1, 3, 24, 24), torch.rand(1, 4), torch.tensor([1])), None


class TimedBlock(nn.Module):
    def __init__(self, before, after, time):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, before), nn.Conv2d(before, after, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(4, after), nn.Conv2d(after, after, 3, padding=1)
        self.time, self.skip = nn.Linear(time, after), nn.Conv2d(before, after, 1)

    def forward(self, x, time):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(time)[:, :, None, None]
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class CrossAttention(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.q, self.o = nn.Linear(width, width), nn.Linear(width, width)
        self.k, self.v = nn.Linear(context, width), nn.Linear(context, width)

    def forward(self, x, context):
        flat = x.flatten(2).transpose(1, 2)
        y = F.scaled_dot_product_attention(self.q(flat), self.k(context), self.v(context))
        return x + self.o(y).transpose(1, 2).view(x.shape)


class Denoiser(nn.Module):
    """A UNet of diffusion, that knows the time and reads a context."""

    def __init__(self, width=8, time=16, context=12):
        super().__init__()
        ways = [width, 2 * width, 4 * width]
        back = [2 * width, width, width]
        self.time_embed = nn.Sequential(nn.Linear(8, time), nn.SiLU(), nn.Linear(time, time))
        self.conv_in, self.conv_out = nn.Conv2d(4, width, 3, 1, 1), nn.Conv2d(width, 4, 3, 1, 1)
        self.down = nn.ModuleList(map(TimedBlock, [width, *ways[:-1]], ways, [time] * 3))
        self.up = nn.ModuleList(map(TimedBlock, [2 * w for w in ways[::-1]], back, [time] * 3))
        self.down_attn = nn.ModuleList(CrossAttention(b, context) for b in ways)
        self.up_attn = nn.ModuleList(CrossAttention(b, context) for b in back)
        self.downsample = nn.ModuleList(nn.Conv2d(b, b, 3, 2, 1) for b in ways[:-1])
        self.mid1, self.mid2 = (TimedBlock(ways[-1], ways[-1], time) for _ in range(2))
        self.mid_attn = CrossAttention(ways[-1], context)

    def forward(self, x, t, context):
        time, x, skips = self.time_embed(t), self.conv_in(x), []
        for n, (block, attention) in enumerate(zip(self.down, self.down_attn, strict=True)):
            skips.append(attention(block(x, time), context))
            x = self.downsample[n](skips[-1]) if n < 2 else skips[-1]
        x = self.mid2(self.mid_attn(self.mid1(x, time), context), time)
        for n, (block, attention) in enumerate(zip(self.up, self.up_attn, strict=True)):
            x = attention(block(torch.cat([x, skips.pop()], 1), time), context)
            x = F.interpolate(x, scale_factor=2.0) if n < 2 else x
        return self.conv_out(x)


@model
def diffusion():
    x, noise = torch.randn(2, 1, 4, 16, 16)
    return Denoiser(), (x, torch.randn(1, 8), torch.randn(1, 5, 12)), lambda o: F.mse_loss(o, noise)


class RadianceField(nn.Module):
    def __init__(self, width=32, inputs=27):
        super().__init__()
        widths = [inputs, *[width] * 3, width + inputs, *[width] * 3]
        self.pts = nn.ModuleList(nn.Linear(before, width) for before in widths)
        self.sigma, self.rgb = nn.Linear(width, 1), nn.Linear(width + 3, 3)

    def forward(self, x, direction):
        e = torch.cat([x] + [f(2**n * x) for n in range(4) for f in (torch.sin, torch.cos)], -1)
        h = e
        for n, layer in enumerate(self.pts):
            h = torch.cat([e, h], -1) if n == 4 else h
            h = F.relu(layer(h))
        return self.rgb(torch.cat([h, direction], -1)).sigmoid(), F.softplus(self.sigma(h))[..., 0]


@model
def radiance_field():
    net = RadianceField()

    def loss(x, direction, target):
        rgb, density = net(x, direction)
        through = torch.exp(-0.1 * density.cumsum(1))
        color = ((through * density)[..., None] * rgb).sum(1)
        return F.mse_loss(color, target)

    return loss, (torch.randn(4, 8, 3), torch.randn(4, 8, 3), torch.rand(4, 3)), None


@model
def policy():
    body = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
    net = nn.ModuleDict({"body": body, "actor": nn.Linear(32, 2), "critic": nn.Linear(32, 1)})

    def loss(state, action, before, advantage, returns):
        h = net["body"](state)
        logp = net["actor"](h).log_softmax(-1).gather(1, action[:, None])[:, 0]
        ratio = (logp - before).exp()
        clipped = ratio.clamp(0.8, 1.2) * advantage
        gain = torch.min(ratio * advantage, clipped).mean()
        return 0.5 * F.mse_loss(net["critic"](h)[:, 0], returns) - gain

    action, before, advantage, returns = torch.randint(0, 2, (8,)), *torch.randn(3, 8)
    return loss, (torch.randn(8, 4), action, before - 1, advantage, returns), None


def of_hugging_face(name, ids, **config):
    """A model with random weights and the loss that its author gave it."""
    transformers = pytest.importorskip("transformers")
    made = getattr(transformers, f"{name.partition('For')[0].replace('LMHeadModel', '')}Config")
    model = getattr(transformers, name)(made(**config))

    def loss(ids):
        return model(input_ids=ids, labels=ids).loss

    return loss, (ids,), None


SMALL = {"vocab_size": 100}
LLAMA = SMALL | {
    "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


@model
def hugging_face_gpt2():
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    size = SMALL | {"n_layer": 4, "n_embd": 32, "n_head": 4, "n_positions": 32} | ends
    return of_hugging_face("GPT2LMHeadModel", torch.randint(0, 100, (2, 8)), **size)


@model
def hugging_face_llama():
    ids = torch.randint(0, 100, (2, 8))
    return of_hugging_face("LlamaForCausalLM", ids, num_hidden_layers=4, **LLAMA)


@model
def hugging_face_mixtral():
    size = LLAMA | {"num_hidden_layers": 2, "num_local_experts": 4}
    return of_hugging_face("MixtralForCausalLM", torch.randint(0, 100, (2, 8)), **size)


@model
def hugging_face_t5():
    size = SMALL | {"num_layers": 3, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_heads": 4}
    ids = torch.randint(1, 100, (2, 8))
    return of_hugging_face("T5ForConditionalGeneration", ids, decoder_start_token_id=0, **size)


@model
def hugging_face_vit():
    transformers = pytest.importorskip("transformers")
    size = {"image_size": 32, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 4,
            "num_attention_heads": 4, "intermediate_size": 64, "num_labels": 5}  # fmt: skip
    vit = transformers.ViTForImageClassification(transformers.ViTConfig(**size))

    def loss(pixels):
        return vit(pixel_values=pixels, labels=torch.tensor([1, 3])).loss

    return loss, (torch.randn(2, 3, 32, 32),), None
