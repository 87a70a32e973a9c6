"""PyTorch baseline for the co-training step: what a user of the original implementation would get on this machine.

The same work as one step of the paper's recipe: a teacher forward pass (largest network, batch statistics), then
forward and backward of four sub-networks of the MobileNetV3 w1.0 compound supernet, gradients summed, one SGD step.
Needs only torch. Prints JSON: seconds per step (median, min) and images per second.

    python torch_step.py --resolution 128 --batch 16 --threads 2 --steps 8
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

WIDTHS = (16, 24, 40, 80, 112, 160)
STRIDES = (2, 2, 2, 1, 2)
KERNELS = (3, 5, 3, 3, 5)
HSWISH = (False, False, True, True, True)
SE = (False, True, False, True, True)
EXPAND = {2: 3, 3: 4, 4: 6}
SUBNETS = ((2, 2, 2, 2, 2), (4, 4, 4, 4, 4), (2, 3, 4, 3, 2), (3, 4, 2, 4, 3))


def divisible(value, divisor=8):
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Weights:
    """Shared weights, created on first use at their largest size."""

    def __init__(self):
        self.table = {}

    def conv(self, name, *shape):
        if name not in self.table:
            fan_out = shape[0] * shape[2] * shape[3]
            self.table[name] = (torch.randn(*shape) * (2.0 / max(fan_out, 1)) ** 0.5).requires_grad_()
        return self.table[name]

    def norm(self, name, channels):
        if name + ".g" not in self.table:
            self.table[name + ".g"] = torch.ones(channels, requires_grad=True)
            self.table[name + ".b"] = torch.zeros(channels, requires_grad=True)
        return self.table[name + ".g"], self.table[name + ".b"]


def batch_norm(w, x, name, largest):
    gamma, beta = w.norm(name, largest)
    c = x.shape[1]
    return F.batch_norm(x, None, None, gamma[:c], beta[:c], True, 0.0, 1e-5)


def activate(x, hard_swish):
    return F.hardswish(x) if hard_swish else F.relu(x)


def block(w, x, name, c_in, c_out, expand, kernel, stride, hard_swish, squeeze):
    mid, largest = c_in * expand, c_in * 6
    y = F.conv2d(x, w.conv(name + ".expand", largest, c_in, 1, 1)[:mid])
    y = activate(batch_norm(w, y, name + ".bn1", largest), hard_swish)
    y = F.conv2d(y, w.conv(name + ".depth", largest, 1, kernel, kernel)[:mid], None, stride, kernel // 2, 1, mid)
    y = activate(batch_norm(w, y, name + ".bn2", largest), hard_swish)
    if squeeze:
        r, r_largest = divisible(mid // 4), divisible(largest // 4)
        z = y.mean((2, 3), keepdim=True)
        z = F.relu(F.conv2d(z, w.conv(name + ".reduce", r_largest, largest, 1, 1)[:r, :mid]))
        z = F.conv2d(z, w.conv(name + ".restore", largest, r_largest, 1, 1)[:mid, :r])
        y = y * F.hardsigmoid(z)
    y = batch_norm(w, F.conv2d(y, w.conv(name + ".project", c_out, largest, 1, 1)[:, :mid]), name + ".bn3", c_out)
    return x + y if stride == 1 and c_in == c_out else y


def network(w, x, depths):
    x = activate(batch_norm(w, F.conv2d(x, w.conv("stem", 16, 3, 3, 3), None, 2, 1), "stem.bn", 16), True)
    y = F.conv2d(x, w.conv("first.depth", 16, 1, 3, 3), None, 1, 1, 1, 16)
    y = activate(batch_norm(w, y, "first.bn2", 16), False)
    x = x + batch_norm(w, F.conv2d(y, w.conv("first.project", 16, 16, 1, 1)), "first.bn3", 16)
    for i, depth in enumerate(depths):
        for j in range(depth):
            c_in, stride = (WIDTHS[i], STRIDES[i]) if j == 0 else (WIDTHS[i + 1], 1)
            x = block(w, x, f"s{i}b{j}", c_in, WIDTHS[i + 1], EXPAND[depth], KERNELS[i], stride, HSWISH[i], SE[i])
    x = activate(batch_norm(w, F.conv2d(x, w.conv("head", 960, 160, 1, 1)), "head.bn", 960), True)
    x = x.mean((2, 3), keepdim=True)
    x = F.hardswish(F.conv2d(x, w.conv("mix", 1280, 960, 1, 1))).flatten(1)
    return x @ w.conv("classifier", 1280, 1000, 1, 1)[:, :, 0, 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    student, teacher = Weights(), Weights()
    images = torch.randn(args.batch, 3, args.resolution, args.resolution)
    if args.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 1000, (args.batch,))
    with torch.no_grad():
        network(student, images, (4,) * 5)
        network(teacher, images, (4,) * 5)
    decay = [v for k, v in student.table.items() if not k.endswith((".g", ".b"))]
    free = [v for k, v in student.table.items() if k.endswith((".g", ".b"))]
    sgd = torch.optim.SGD(
        [{"params": decay, "weight_decay": 3e-5}, {"params": free}], lr=1e-3, momentum=0.9, nesterov=True
    )

    def step():
        with torch.no_grad():
            soft = F.softmax(network(teacher, images, (4,) * 5), 1)
        sgd.zero_grad()
        for depths in SUBNETS:
            logits = network(student, images, depths)
            distill = -(soft * F.log_softmax(logits, 1)).sum(1).mean()
            (distill + F.cross_entropy(logits, labels, label_smoothing=0.1)).backward()
        sgd.step()

    for _ in range(2):
        step()
    times = []
    for _ in range(args.steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    print(
        json.dumps(
            {
                "torch": torch.__version__,
                "threads": args.threads,
                "resolution": args.resolution,
                "batch": args.batch,
                "step_s_median": round(median, 4),
                "step_s_min": round(min(times), 4),
                "images_per_s": round(args.batch / median, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
