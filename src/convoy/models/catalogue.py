"""The models: a row for each, with its class, the options of a variant, and facts that the contract tests check.

A family is one file, whose docstring has the URL of its paper or report.
"""

from convoy.models.alexnet import AlexNet
from convoy.models.cifar_course import BasicCNN, ImprovedCNN
from convoy.models.cifar_resnet import CifarResNet
from convoy.models.convnext import ConvNeXt
from convoy.models.densenet import CifarDenseNet, DenseNet
from convoy.models.efficientnet import EfficientNet
from convoy.models.entry import CIFAR, IMAGENET, MNIST, Geometry, ModelEntry
from convoy.models.fast_mnist_cnn import FastMnistCNN
from convoy.models.googlenet import GoogLeNet
from convoy.models.inception_v3_small import InceptionV3Small
from convoy.models.lenet import LeNet
from convoy.models.mnist_resnet import MnistResNet
from convoy.models.mobilenet_v1 import MobileNetV1
from convoy.models.mobilenet_v2 import MobileNetV2
from convoy.models.mobilenet_v3 import MobileNetV3
from convoy.models.network_in_network import NetworkInNetwork
from convoy.models.preact_resnet import CifarPreActResNet, PreActResNet
from convoy.models.res_attention_cnn import ResAttentionCNN
from convoy.models.residual_cnn import ResidualCNN
from convoy.models.resnet import ResNet
from convoy.models.shufflenet_v2 import ShuffleNetV2
from convoy.models.squeezenet import SqueezeNet
from convoy.models.two_conv_cnn import TwoConvCNN
from convoy.models.vgg import VGG
from convoy.models.vit import VisionTransformer
from convoy.models.wide_kernel_cnn import WideKernelCNN
from convoy.models.wide_resnet import WideResNet
from convoy.registry import Registry

MODELS: Registry[ModelEntry] = Registry("model")

# fmt: off
for entry in (
    ModelEntry("alexnet", "AlexNet of half the widths with a 5x5 stem, images enlarged twice",
        AlexNet, MNIST, 43_446_122, smallest_image=4, macs=318_426_112, revision=2),
    ModelEntry("alexnet_large", "AlexNet with the paper's widths and stem, images enlarged eight times",
        AlexNet, MNIST, 58_299_082, smallest_image=5, macs=1_060_924_256, revision=2,
        presets={"widths": "paper", "stem": "paper", "upsample": 8}),
    ModelEntry("basic_cnn", "three 3x3 convolutions with a pooling after each, one hidden layer of 512",
        BasicCNN, CIFAR, 1_147_466, smallest_image=8, macs=11_375_616),
    ModelEntry("cifar_resnet20", "ResNet-20 for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        CifarResNet, CIFAR, 269_722, smallest_image=4),
    ModelEntry("cifar_resnet32", "ResNet-32 for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        CifarResNet, CIFAR, 464_154, smallest_image=4, presets={"depth": 32}),
    ModelEntry("cifar_resnet44", "ResNet-44 for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        CifarResNet, CIFAR, 658_586, smallest_image=4, presets={"depth": 44}),
    ModelEntry("cifar_resnet56", "ResNet-56 for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        CifarResNet, CIFAR, 853_018, smallest_image=4, presets={"depth": 56}),
    ModelEntry("cifar_resnet110", "ResNet-110 for CIFAR: stages of 16, 32 and 64 channels, shortcuts without weights",
        CifarResNet, CIFAR, 1_727_962, smallest_image=4, presets={"depth": 110}),
    ModelEntry("convnext_atto", "depthwise 7x7 blocks, 40 to 320 channels",
        ConvNeXt, CIFAR, 3_376_290, smallest_image=8, presets={"width": 40}),
    ModelEntry("convnext_femto", "depthwise 7x7 blocks, 48 to 384 channels",
        ConvNeXt, CIFAR, 4_834_906, smallest_image=8),
    ModelEntry("densenet121", "DenseNet-121, bottleneck layers that add 32 maps each",
        DenseNet, IMAGENET, 7_978_856, smallest_image=8),
    ModelEntry("densenet169", "DenseNet-169, bottleneck layers that add 32 maps each",
        DenseNet, IMAGENET, 14_149_480, smallest_image=8, presets={"depth": 169}),
    ModelEntry("densenet201", "DenseNet-201, bottleneck layers that add 32 maps each",
        DenseNet, IMAGENET, 20_013_928, smallest_image=8, presets={"depth": 201}),
    ModelEntry("densenet_bc_100_12", "DenseNet-BC for CIFAR, depth 100, growth 12",
        CifarDenseNet, CIFAR, 769_162, smallest_image=4),
    ModelEntry("efficientnet_b0", "gated inverted residuals with stochastic depth",
        EfficientNet, IMAGENET, 5_288_548, smallest_image=8),
    ModelEntry("fast_mnist_cnn", "three small convolutions made for 99 % on MNIST in one epoch of a CPU",
        FastMnistCNN, MNIST, 29_434, smallest_image=20),
    ModelEntry("googlenet", "Inception v1 without norm and auxiliary heads, on images of twice the side",
        GoogLeNet, MNIST, 5_977_530, smallest_image=8, macs=106_796_544, revision=2),
    ModelEntry("improved_cnn", "six 3x3 convolutions in three stages, batch norm, a hidden layer of 1,024, dropout",
        ImprovedCNN, CIFAR, 12_906_250, smallest_image=8, macs=538_650_624),
    ModelEntry("inception_v3_small", "small Inception for CIFAR-10: modules of a 1x1 and a 3x3 branch",
        InceptionV3Small, Geometry(3, 10, 28), 1_649_402, smallest_image=8),
    ModelEntry("lenet", "LeNet-5 with max pooling and sigmoid",
        LeNet, MNIST, 44_426, smallest_image=16, macs=281_640),
    ModelEntry("mnist_resnet", "light ResNet: stages of 128, 256 and 512 channels, dropout in the shortcuts",
        MnistResNet, MNIST, 10_983_530, smallest_image=4, macs=1_201_243_648),
    ModelEntry("mnist_resnet_published", "mnist_resnet as its report has it: with a layer that is never used",
        MnistResNet, MNIST, 11_020_650, smallest_image=4, macs=1_201_243_648, presets={"unused_layer": True}),
    ModelEntry("mobilenet_v1", "depthwise separable convolutions; images enlarged by two, dropout",
        MobileNetV1, MNIST, 3_216_650, smallest_image=16, macs=42_030_208),
    ModelEntry("mobilenet_v2", "inverted residuals with linear bottlenecks",
        MobileNetV2, IMAGENET, 3_504_872, smallest_image=8),
    ModelEntry("mobilenet_v3_large", "searched inverted residuals with gates and hard swish, the large one",
        MobileNetV3, IMAGENET, 5_483_032, smallest_image=8),
    ModelEntry("mobilenet_v3_small", "searched inverted residuals with gates and hard swish, the small one",
        MobileNetV3, IMAGENET, 2_542_856, smallest_image=8, presets={"variant": "small"}),
    ModelEntry("network_in_network", "5x5 and 1x1 convolutions, a mean over the last map for each class",
        NetworkInNetwork, CIFAR, 966_986, smallest_image=8),
    ModelEntry("preact_resnet18", "pre-activation ResNet-18, blocks of two 3x3 convolutions",
        PreActResNet, IMAGENET, 11_687_720, smallest_image=8),
    ModelEntry("preact_resnet34", "pre-activation ResNet-34, blocks of two 3x3 convolutions",
        PreActResNet, IMAGENET, 21_795_880, smallest_image=8, presets={"depth": 34}),
    ModelEntry("preact_resnet50", "pre-activation ResNet-50, bottleneck blocks",
        PreActResNet, IMAGENET, 25_549_352, smallest_image=8, presets={"depth": 50}),
    ModelEntry("preact_resnet110", "pre-activation ResNet-110 for CIFAR, blocks of two 3x3 convolutions",
        CifarPreActResNet, CIFAR, 1_730_522, smallest_image=4),
    ModelEntry("preact_resnet164", "pre-activation ResNet-164 for CIFAR, bottleneck blocks",
        CifarPreActResNet, CIFAR, 1_703_258, smallest_image=4, presets={"depth": 164, "bottleneck": True}),
    ModelEntry("res_attention_cnn", "two residual blocks, depthwise 1x3 and 3x1 convolutions, channel attention",
        ResAttentionCNN, MNIST, 440_170, smallest_image=8, macs=23_884_672, revision=2),
    ModelEntry("res_attention_cnn_published",
        "res_attention_cnn as its report has it: attention on a 1x1 map, softmax before the loss",
        ResAttentionCNN, MNIST, 440_170, smallest_image=8, macs=23_884_672, revision=2,
        presets={"attention_after_pooling": True, "softmax_output": True}),
    ModelEntry("residual_cnn", "a 3x3 stem and six residual blocks of 64, 128 and 256 channels",
        ResidualCNN, CIFAR, 2_816_074, smallest_image=4, macs=421_240_832),
    ModelEntry("cbam_resnet18", "ResNet-18 with gates over channels and over places in each block",
        ResNet, IMAGENET, 11_777_336, smallest_image=8, presets={"attention": "cbam"}),
    ModelEntry("cbam_resnet50", "ResNet-50 with gates over channels and over places in each block",
        ResNet, IMAGENET, 28_073_544, smallest_image=8, presets={"depth": 50, "attention": "cbam"}),
    ModelEntry("resnet18", "ResNet-18, blocks of two 3x3 convolutions",
        ResNet, MNIST, 11_175_370, smallest_image=8),
    ModelEntry("resnet18_shared",
        "the classics experiment's ResNet-18: shortcuts share their block's first convolution",
        ResNet, MNIST, 11_001_546, smallest_image=16, macs=135_763_968, revision=2,
        presets={"stem": "paper", "shortcut": "shared", "drop_rate": 0.5, "upsample": 2, "init": "default"}),
    ModelEntry("resnet34", "ResNet-34, blocks of two 3x3 convolutions",
        ResNet, IMAGENET, 21_797_672, smallest_image=8, presets={"depth": 34}),
    ModelEntry("resnet50", "ResNet-50, bottleneck blocks",
        ResNet, IMAGENET, 25_557_032, smallest_image=8, presets={"depth": 50}),
    ModelEntry("resnet101", "ResNet-101, bottleneck blocks",
        ResNet, IMAGENET, 44_549_160, smallest_image=8, presets={"depth": 101}),
    ModelEntry("resnet152", "ResNet-152, bottleneck blocks",
        ResNet, IMAGENET, 60_192_808, smallest_image=8, presets={"depth": 152}),
    ModelEntry("se_resnet18", "ResNet-18 with a gate over channels in each block",
        ResNet, IMAGENET, 11_778_592, smallest_image=8, presets={"attention": "se"}),
    ModelEntry("se_resnet50", "ResNet-50 with a gate over channels in each block",
        ResNet, IMAGENET, 28_088_024, smallest_image=8, presets={"depth": 50, "attention": "se"}),
    ModelEntry("shufflenet_v2_x0_5", "halves of the channels pass, are filtered and interleaved; width x0.5",
        ShuffleNetV2, IMAGENET, 1_366_792, smallest_image=8, presets={"width_mult": 0.5}),
    ModelEntry("shufflenet_v2_x1_0", "halves of the channels pass, are filtered and interleaved; width x1.0",
        ShuffleNetV2, IMAGENET, 2_278_604, smallest_image=8),
    ModelEntry("shufflenet_v2_x1_5", "halves of the channels pass, are filtered and interleaved; width x1.5",
        ShuffleNetV2, IMAGENET, 3_503_624, smallest_image=8, presets={"width_mult": 1.5}),
    ModelEntry("shufflenet_v2_x2_0", "halves of the channels pass, are filtered and interleaved; width x2.0",
        ShuffleNetV2, IMAGENET, 7_393_996, smallest_image=8, presets={"width_mult": 2.0}),
    ModelEntry("squeezenet1_0", "squeezed channels before 3x3 convolutions, no linear layer",
        SqueezeNet, IMAGENET, 1_248_424, smallest_image=8, presets={"version": "1.0"}),
    ModelEntry("squeezenet1_1", "SqueezeNet at less than half the work: earlier pools, a 3x3 first kernel",
        SqueezeNet, IMAGENET, 1_235_496, smallest_image=8),
    ModelEntry("two_conv_cnn", "two 3x3 convolutions with batch norm, three linear layers",
        TwoConvCNN, MNIST, 698_942, smallest_image=4, macs=1_709_512),
    ModelEntry("two_conv_cnn_published", "two_conv_cnn as its report has it: softmax before the loss",
        TwoConvCNN, MNIST, 698_942, smallest_image=4, macs=1_709_512, presets={"softmax_output": True}),
    ModelEntry("vgg11", "VGG of 11 layers",
        VGG, CIFAR, 9_750_922, smallest_image=17, macs=153_293_824),
    ModelEntry("vgg11_bn", "VGG of 11 layers with batch norm",
        VGG, CIFAR, 9_756_426, smallest_image=17, macs=153_293_824, presets={"norm": "batch"}),
    ModelEntry("vgg13", "VGG of 13 layers",
        VGG, CIFAR, 9_935_434, smallest_image=17, presets={"depth": 13}),
    ModelEntry("vgg13_bn", "VGG of 13 layers with batch norm",
        VGG, CIFAR, 9_941_322, smallest_image=17, presets={"depth": 13, "norm": "batch"}),
    ModelEntry("vgg16", "VGG of 16 layers",
        VGG, CIFAR, 15_245_130, smallest_image=17, presets={"depth": 16}),
    ModelEntry("vgg16_bn", "VGG of 16 layers with batch norm",
        VGG, CIFAR, 15_253_578, smallest_image=17, presets={"depth": 16, "norm": "batch"}),
    ModelEntry("vgg19", "VGG of 19 layers",
        VGG, CIFAR, 20_554_826, smallest_image=17, presets={"depth": 19}),
    ModelEntry("vgg19_bn", "VGG of 19 layers with batch norm",
        VGG, CIFAR, 20_565_834, smallest_image=17, presets={"depth": 19, "norm": "batch"}),
    ModelEntry("vgg_a", "the cifar-course VGG-A",
        VGG, CIFAR, 9_750_922, smallest_image=17, macs=153_293_824, revision=2,
        presets={"drop_rate": 0.0, "init": "default"}),
    ModelEntry("vgg_a_bn", "the cifar-course VGG-A with batch norm",
        VGG, CIFAR, 9_756_426, smallest_image=17, macs=153_293_824, revision=2,
        presets={"norm": "batch", "drop_rate": 0.0, "init": "default"}),
    ModelEntry("vit_tiny", "vision transformer on patches of 4x4 pixels: 192 wide, 12 deep, 3 heads",
        VisionTransformer, CIFAR, 5_362_762, smallest_image=8),
    ModelEntry("wide_kernel_cnn", "7x7 and 5x5 convolutions, a linear layer of 1,024, dropout",
        WideKernelCNN, MNIST, 3_275_402, smallest_image=4, macs=14_486_016),
    ModelEntry("wide_resnet16_8", "wide ResNet-16, 8 times the channels of a CIFAR ResNet",
        WideResNet, CIFAR, 10_961_370, smallest_image=4),
    ModelEntry("wide_resnet28_10", "wide ResNet-28, 10 times the channels of a CIFAR ResNet",
        WideResNet, CIFAR, 36_479_194, smallest_image=4, presets={"depth": 28, "widen_factor": 10}),
    ModelEntry("wide_resnet40_4", "wide ResNet-40, 4 times the channels of a CIFAR ResNet",
        WideResNet, CIFAR, 8_949_210, smallest_image=4, presets={"depth": 40, "widen_factor": 4}),
):
    MODELS.add(entry.name, entry)
# fmt: on
