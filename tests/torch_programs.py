"""PyTorch programs with what makes capturing hard, one each; and two models of the usual size."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

PROGRAMS = {}


def program(make):
    """Register ``make() -> (module or function, arguments, loss or None)``."""
    PROGRAMS[make.__name__] = make
    return make


def data(*shape):
    return torch.randn(*shape)


class Clamp(torch.autograd.Function):
    """Computes inside with tensors that the outside never sees."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0) * 2 + torch.ones(3).sum()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * (x > 0)


@program
def attention_of_three_inputs():
    arguments = data(2, 3, 6), data(2, 4, 6), data(2, 4, 6)
    return nn.MultiheadAttention(6, 2, batch_first=True), arguments, lambda o: o[0].pow(2).sum()


@program
def attention_to_itself():
    x = data(2, 3, 6)
    return nn.MultiheadAttention(6, 2, batch_first=True), (x, x, x), lambda o: o[0].pow(2).sum()


@program
def fused_attention():
    q, k, v = (data(1, 2, 4, 8).requires_grad_() for _ in range(3))

    def f(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).sin().sum()

    return f, (q, k, v), None


@program
def lstm_by_its_outputs():
    return nn.LSTM(6, 5, batch_first=True), (data(2, 3, 6),), lambda o: o[0].sin().sum()


@program
def lstm_by_all_its_results():
    def loss(o):
        return o[0].sum() + o[1][0].pow(2).sum() + o[1][1].sin().sum()

    return nn.LSTM(6, 5, batch_first=True), (data(2, 3, 6),), loss


@program
def two_layers_of_gru():
    return nn.GRU(6, 5, num_layers=2), (data(3, 2, 6),), lambda o: o[0].sin().sum()


@program
def encoder_with_dropout():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 2), (data(2, 5, 8),), lambda o: o.pow(2).mean()


@program
def convolutions():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 2),
    )  # fmt: skip
    return net, (data(2, 3, 8, 8),), lambda o: F.cross_entropy(o, torch.tensor([0, 1]))


@program
def a_function_of_ones_own():
    linear = nn.Linear(6, 3)
    return (lambda x: Clamp.apply(linear(x)).sin().sum()), (data(4, 6),), None


@program
def written_in_place():
    linear = nn.Linear(6, 3)

    def f(x):
        h = linear(x).exp() + 1
        h += 2
        h = h * 2
        h[:, 0] = 0
        h[0] *= 3
        h.relu_()
        return h.sum()

    return f, (data(4, 6),), None


@program
def written_through_a_view():
    linear = nn.Linear(6, 4)

    def f(x):
        h = linear(x) + 0
        view = h.view(-1)
        view[3:5] = view[0] * 2
        h.mul_(2)
        view.add_(1)
        return (h.sin() * view.view(4, 4)).sum()

    return f, (data(4, 6),), None


@program
def reshaped_in_place():
    linear = nn.Linear(6, 4)

    def f(x):
        h = linear(x) * 3
        h.unsqueeze_(0)
        h.mul_(2)
        h.transpose_(1, 2)
        h.squeeze_(0)
        return (h.t_().contiguous() @ h.sin().T).sum()

    return f, (data(5, 6),), None


@program
def rows_filled_in():
    linear = nn.Linear(6, 4)

    def f(x):
        out = torch.zeros(4, 4, dtype=x.dtype)
        for i in range(4):
            out[i] = linear(x[i]) * i
        return out.tanh().sum()

    return f, (data(4, 6),), None


@program
def tied_weights():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, i):
            return self.head(self.embedding(i)).logsumexp(-1).sum()

    return Tied(), (torch.tensor([1, 2, 3]),), None


@program
def checkpointed():
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
    return (lambda x: checkpoint(net, x, use_reentrant=False).pow(2).sum()), (data(4, 6),), None


@program
def automatic_precision():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))

    def f(x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return net(x).float().pow(2).sum()

    return f, (data(4, 6),), None


@program
def hooks_that_change_gradients():
    first, second = nn.Linear(6, 6), nn.Linear(6, 3)
    first.register_forward_hook(lambda module, inputs, output: output * 2)
    second.register_full_backward_hook(lambda module, sent, received: (sent[0] * 2,))

    def f(x):
        h = first(x)
        h.register_hook(lambda g: g * 3)
        return second(h).sin().sum()

    return f, (data(4, 6),), None


@program
def functional_call():
    linear = nn.Linear(6, 3)
    parameters = {k: v.detach().clone().requires_grad_() for k, v in linear.named_parameters()}

    def f(parameters, x):
        return torch.func.functional_call(linear, parameters, (x,)).sin().sum()

    return f, (parameters, data(4, 6)), None


@program
def vectorized():
    linear = nn.Linear(6, 3)

    def f(x):
        return torch.vmap(lambda row: linear(row).sin().sum())(x).pow(2).sum()

    return f, (data(4, 6),), None


@program
def pieces():
    linear = nn.Linear(6, 9)

    def f(x):
        q, k, v = linear(x).chunk(3, -1)
        top, _ = (q @ k.T).max(dim=1)
        return (top[:, None] * v).sum()

    return f, (data(4, 6),), None


@program
def several_results():
    linear = nn.Linear(6, 9)

    def f(x):
        h = linear(x)
        variance, mean = torch.var_mean(h, dim=1)
        u, s, _ = torch.linalg.svd(h)
        return (variance * mean).sum() + s.sum() + (u[:, 0] * u[:, 0]).sum()

    return f, (data(4, 6),), None


@program
def sparse_gradient():
    embedding = nn.Embedding(10, 3, sparse=True)
    return (lambda i: embedding(i).sin().sum()), (torch.tensor([1, 2, 2]),), None


@program
def complex_inside():
    w = data(8).requires_grad_()
    return (lambda w: torch.fft.fft(w).abs().pow(2).sum()), (w,), None


@program
def one_operand_twice():
    w = (data(3, 3).abs() + 1).requires_grad_()
    return (lambda w: (w * w - w / w + w @ w.T + torch.where(w > 0, w, w)).sum()), (w,), None


@program
def partly_unused():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.cut = nn.Linear(6, 3), nn.Linear(6, 3), nn.Linear(3, 3)

        def forward(self, x):
            self.unused(x)
            return (self.used(x) + self.cut(self.used(x)).detach()).sum()

    return Partly(), (data(4, 6),), None


@program
def several_results_under_checkpoints():
    cell, lstm = nn.LSTMCell(3, 3), nn.LSTM(3, 3, 2, dropout=0.5)

    def block(cell, lstm, x, h, c):
        h, c = cell(x, (h, c))
        out, (last, state) = lstm(torch.stack([h, c]))
        spread, middle = torch.var_mean(out, -1)
        return h + middle[0, :, None], c * spread[1, :, None] + last.sin().sum() + state[0]

    def f(x):
        h = c = x.new_zeros(2, 3)
        for row in x:
            h, c = checkpoint(block, cell, lstm, row, h, c, use_reentrant=False)
        return (h * c).sum() + h.sin().sum()

    return f, (data(2, 2, 3),), None


@program
def states_of_an_lstm_cell():
    cell = nn.LSTMCell(3, 2)

    def f(x):
        h = c = x.new_zeros(2, 2)
        total = 0
        for row in x:
            h, c = cell(row, (h, c))
            total = total + (h * c).sum()
        return total + cell(x[0], (h, c))[0].sin().sum()

    return f, (data(3, 2, 3),), None


@program
def encoder_and_decoder_of_one_gru():
    gru = nn.GRU(3, 2)

    def f(x):
        encoded, h = gru(x)
        decoded, _ = gru(x.flip(0), h)
        return (decoded * encoded).sin().sum()

    return f, (data(4, 1, 3),), None


def _some_results(use):
    """Of each call that has several results, those that `use` picks."""

    def make():
        linear = nn.Linear(4, 4)

        def f(x):
            h = linear(x).tanh()
            symmetric = h @ h.T + torch.arange(1.0, 5.0, dtype=x.dtype).diag()
            calls = [
                h.chunk(2), h.split([1, 3]), h.unbind(1), h.tensor_split(3, -1),
                torch.linalg.eigh(symmetric), torch.linalg.qr(symmetric),
                torch.var_mean(h, 1), torch.std_mean(h, 0), h.max(0), h.sort(1), h.topk(2, 1),
                torch.meshgrid(h[0], h[1], indexing="ij"), Pair.apply(h, 3.0, h.cos()),
            ]  # fmt: skip
            total = 2 * torch.linalg.slogdet(symmetric)[1]
            for results in calls:
                floating = [r for r in results if r.is_floating_point()]
                for n, r in enumerate(use(floating), 1):
                    total = total + n * (r * r).reshape(-1).cumsum(0).sum()
            return total

        return f, (data(4, 4),), None

    return make


class Pair(torch.autograd.Function):
    """Two results of two tensors, with a number between them."""

    @staticmethod
    def forward(ctx, x, factor, y):
        ctx.save_for_backward(x, y)
        return x * factor, x * y

    @staticmethod
    def backward(ctx, first, second):
        x, y = ctx.saved_tensors
        return 3 * first + second * y, None, second * x


PROGRAMS["one_of_several_results"] = _some_results(lambda results: results[:1])
PROGRAMS["the_last_of_several_results"] = _some_results(lambda results: results[-1:])
PROGRAMS["several_results_from_the_last"] = _some_results(lambda results: results[::-1])
PROGRAMS["one_of_several_results_twice"] = _some_results(lambda results: results[:1] * 2)


def _written_after(made):
    """What calls return as a view of their own, written to: whole, in part, by turns, after use."""

    def make():
        linear, other = nn.Linear(4, 4), nn.Linear(4, 4)

        def f(x):
            total = 0
            for n in range(5):
                y = made(linear(x), other(x))
                if n == 0:
                    y += x.mean()
                elif n == 1:
                    F.relu(y, inplace=True)
                elif n == 2:
                    total = total + (3 * y).sum()
                    y[0] *= 2
                    y[..., 1:].tanh_()
                elif n == 3:
                    y.masked_fill_(y.detach() > 0.2, 0.5)
                    y.mul_(x.mean())
                else:
                    for row in range(len(y)):
                        y.select(0, row).mul_(row + 1)
                total = total + y.cumsum(-1).sin().sum()
            return total

        return f, (data(2, 3, 4),), None

    return make


PROGRAMS |= {
    f"written_after_{name}": _written_after(made)
    for name, made in {
        "linear": lambda y, z: y,
        "einsum": lambda y, z: torch.einsum("bid,bjd->bij", y, z),
        "instance_norm": lambda y, z: F.instance_norm(y + z),
        "pooling": lambda y, z: F.max_pool1d(y, 2) + 0 * z.mean(),
        "unbatched_convolution": lambda y, z: F.conv1d(y[0], z[:, :, :2]),
        "attention": lambda y, z: F.scaled_dot_product_attention(y, z, z),
        "a_broadcast_product": lambda y, z: y @ z[0].T,
        "unflatten": lambda y, z: (y * z).unflatten(-1, (2, 2)),
        "transposing": lambda y, z: (y @ z.mT).transpose(0, 1),
    }.items()
}


@program
def gradient_penalty():
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 1))

    def f(x, y):
        mixed = (0.3 * x + 0.7 * y).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        return critic(y).mean() - critic(x).mean() + (slope.norm(dim=1) - 1).square().mean()

    return f, (data(5, 3), data(5, 3)), None


@program
def residual_of_a_differential_equation():
    net = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    def f(t):
        t = t.clone().requires_grad_()
        u = net(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), t, create_graph=True)
        return (bend + u).square().mean()

    return f, (data(4, 1),), None


@program
def penalty_on_what_a_recurrent_layer_does():
    rnn = nn.RNN(3, 2, batch_first=True)
    w = data(3).requires_grad_()

    def f(w, x):
        outputs, _ = rnn(x * w)
        (slope,) = torch.autograd.grad(outputs.square().sum(), w, create_graph=True)
        return outputs.sum() + slope.sin().sum()

    return f, (w, data(2, 3, 3)), None


@program
def read_without_gradient_first():
    linear = nn.Linear(4, 4)

    def f(x):
        h = torch.cat([linear(x), x], -1)[..., ::2]
        h.mul_(1.5)
        with torch.no_grad():
            assert h.isfinite().all()
        return (h * 2 + h.sin()).sum()

    return f, (data(3, 4),), None


@program
def gradients_by_two_inputs():
    def f(w, x):
        y = ((x @ w) ** 3).sum()
        by_x, by_w = torch.autograd.grad(y, (x, w), create_graph=True)
        return by_x.norm() + (by_w * by_w).sum()

    return f, (data(3, 4).requires_grad_(), data(5, 3).requires_grad_()), None


@program
def a_step_inside():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def f(x, t):
        parameters = dict(net.named_parameters())
        for _ in range(2):
            loss = (torch.func.functional_call(net, parameters, (x,)) - t).square().mean()
            slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
            pairs = zip(parameters.items(), slopes, strict=True)
            parameters = {name: value - 0.1 * slope for (name, value), slope in pairs}
        return (torch.func.functional_call(net, parameters, (x + 1,)) - t).square().mean()

    return f, (data(4, 3), data(4, 1)), None


@program
def gradients_of_each_example():
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))

    def f(x):
        def loss(parameters, row):
            return torch.func.functional_call(net, parameters, (row,)).sin().sum()

        parameters = dict(net.named_parameters())
        slopes = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
        jacobian = torch.func.jacrev(net)(x[0])
        return sum(s.square().sum() for s in slopes.values()) + jacobian.sum()

    return f, (data(4, 3),), None


@program
def running_maxima():
    key, value = nn.Linear(3, 3), nn.Linear(3, 3)
    decay = data(3).requires_grad_()

    def f(decay, x):
        k, v, total = key(x), value(x), 0
        top, a, b = torch.full_like(k[0], -1e38), torch.zeros_like(k[0]), torch.zeros_like(k[0])
        for t in range(len(x)):
            q = torch.maximum(top, k[t])
            old, new = torch.exp(top - q), torch.exp(k[t] - q)
            total = total + ((old * a + new * v[t]) / (old * b + new)).sin().sum()
            q = torch.maximum(top + decay, k[t])
            old, new = torch.exp(top + decay - q), torch.exp(k[t] - q)
            a, b, top = old * a + new * v[t], old * b + new, q
        return total

    return f, (decay, data(5, 3)), None


# --- of the usual size ---------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, width, heads, tokens):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.register_buffer("mask", torch.tril(torch.ones(tokens, tokens)).bool())

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).split(width, dim=2)
        shape = batch, tokens, self.heads, width // self.heads
        q, k, v = q.view(shape), k.view(shape), v.view(shape)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        scores = (q @ k.transpose(-2, -1)) * shape[-1] ** -0.5
        scores = scores.masked_fill(~self.mask[:tokens, :tokens], float("-inf"))
        weights = F.softmax(scores, dim=-1)
        y = (weights @ v).transpose(1, 2).reshape(batch, tokens, width)
        return self.proj(y)


class Block(nn.Module):
    def __init__(self, width, heads, tokens):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, tokens)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    def __init__(self, vocabulary=256, width=256, heads=8, layers=12, tokens=128):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads, tokens) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary, bias=False)

    def forward(self, idx, targets):
        x = self.tok(idx) + self.pos(torch.arange(idx.shape[1], device=idx.device))
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.ln(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Residual(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class ResNet18(nn.Module):
    """He et al., "Deep Residual Learning for Image Recognition" (2015), table 1."""

    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(64), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        for n, (before, after) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
            stride = 1 if n == 1 else 2
            layer = nn.Sequential(Residual(before, after, stride), Residual(after, after))
            setattr(self, f"layer{n}", layer)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def gpt(**sizes):
    model = GPT(**sizes)
    vocabulary, tokens = model.tok.num_embeddings, model.pos.num_embeddings
    idx, targets = torch.randint(0, vocabulary, (2, 1, tokens))
    return model, (idx, targets), None


def resnet():
    targets = torch.tensor([1, 2])
    return ResNet18(), (data(2, 3, 64, 64),), lambda o: F.cross_entropy(o, targets)
