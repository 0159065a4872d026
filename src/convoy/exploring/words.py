"""The text of the page. Each placeholder is its own value here; js/*.js replaces it."""

from __future__ import annotations

from convoy.exploring.content import PageContent, RunContent
from convoy.reporting.content import readable
from convoy.run_contents import part_name
from convoy.stats import wilson
from convoy.text import gettext as _
from convoy.text import in_language, languages, page_language
from convoy.text.labels import label_text
from convoy.text.lists import listed
from convoy.text.numbers import interval


def words_by_language(content: PageContent) -> dict[str, dict[str, str]]:
    """Returns all text of the page, by language (as in HTML's `lang`), then by key."""
    words = {}
    for code in languages():
        with in_language(code):
            words[page_language()] = words_of(content)
    return words


def words_of(content: PageContent) -> dict[str, str]:
    return {
        **_content_words(content),
        **_template_words(part_name(content.part), len(content.training.labels)),
        **_input_words(),
        **_layer_words(),
        **_explanation_words(),
        **_error_words(part_name(content.part)),
        **_study_words(),
    }


def _content_words(content: PageContent) -> dict[str, str]:
    """Returns the text that contains results of the runs."""
    title = _(
        "{labels} on {data}", labels=listed(label_text(run.label) for run in content.runs), data=content.data.name
    )
    labels = {f"label_{index}": readable(label_text(run.label)) for index, run in enumerate(content.runs)}
    sentences = {f"sentence_{index}": _sentence(run, content.part) for index, run in enumerate(content.runs)}
    flags = {
        f"flags_{index}": "\n".join(readable(_("{sentence}.", sentence=flag)) for flag in run.flags())
        for index, run in enumerate(content.runs)
    }
    return {
        "title": readable(title),
        "effect": readable(_("{sentence}.", sentence=content.effect())) if content.effect else "",
        **labels,
        **sentences,
        **flags,
    }


def _sentence(run: RunContent, part: str) -> str:
    low, high = wilson(run.correct, run.images).span
    return _(
        "{label} classifies {mean:.2f} % of {n:,} {part} images correctly (95 % interval: {interval} %).",
        label=label_text(run.label),
        mean=100 * run.correct / run.images,
        n=run.images,
        part=part_name(part),
        interval=interval(100 * low, 100 * high, 2),
    )


def _template_words(part: str, training_images: int) -> dict[str, str]:
    """Returns the text in the template; js/text.js replaces it for another language."""
    return {
        "kicker": _("Convoy · inside a network"),
        "language": _("Language"),
        "problem": _("This page could not start:"),
        "no_script": _("This page needs JavaScript. It loads nothing from the internet."),
        "runs": _("Network"),
        "try": _("Try it"),
        "inside": _("Look inside"),
        "where": _("Attribution maps"),
        "errors": _("Errors"),
        "sides": _("Side by side"),
        "history": _("How it learned"),
        "play": _("Kernel, stride, padding"),
        "contents": _("Contents"),
        "pad": _("Drawing pad. Arrow keys move the pen, the space bar lowers and raises it"),
        "draw": _("Draw a character"),
        "draw_note": _("or drop, paste or open a picture"),
        "open_picture": _("Open a picture"),
        "drop": _("Drop or paste a picture, or open one:"),
        "clear_pad": _("Clear"),
        "open_file": _("Open a file"),
        "camera": _("Take a photo"),
        "viewfinder": _("Picture of the camera"),
        "shoot": _("Capture"),
        "camera_off": _("Switch the camera off"),
        "images_of": _("Images of the {part} set", part=part),
        "which": _("Show"),
        "mistakes": _("mistakes"),
        "all": _("all images on this page"),
        "steps": _("From the picture to the network"),
        "answer": _("Prediction"),
        "layers": _("Layers"),
        "inside_text": _(
            "Each row is one operation, with the feature maps that it computed: blue is positive, orange "
            "is negative, the page colour is zero. Choose a map to see how it was computed."
        ),
        "inspector": _("The chosen map"),
        "matrix": _("Confusion matrix"),
        "for_class": _("Evidence for"),
        "compute": _("Compute"),
        "occlusion": _("Occlusion"),
        "occlusion_note": _(
            "A grey square covers one region after another. Blue: covering the region lowers the "
            "probability of the class; orange: it raises it."
        ),
        "activation": _("Class activation"),
        "activation_note": _(
            "Score-CAM, which needs no gradients: each map of the last convolution is weighted by the "
            "probability of the class for the image masked with this map. Blue: evidence for the class."
        ),
        "neighbours": _("The most similar training images"),
        "neighbours_note": _(
            "Of the {n} training images on this page, those with the most similar inputs to the last layer "
            "(cosine similarity).",
            n=training_images,
        ),
        "disagreements": _("Images on which they disagree"),
        "epoch": _("Epoch"),
        "epoch_inside": _("use these weights everywhere on this page"),
        "play_text": _(
            "What would another kernel, stride or padding change? The table compares the layer that is "
            "open above with your settings."
        ),
        "play_kernel": _("kernel"),
        "play_stride": _("stride"),
        "play_padding": _("padding"),
        "play_step": _("Next pixel"),
        "play_reset": _("As in the network"),
    }


def _input_words() -> dict[str, str]:
    return {
        "percent": _("{value} %", value="{value}"),
        "pad_empty": _("The drawing pad is empty."),
        "pen_down": _("The pen is down: the arrow keys draw."),
        "pen_up": _("The pen is up."),
        "several_characters": _("{n} characters found and read as one.", n="{n}"),
        "no_ink": _("No ink found: strokes must differ from the paper."),
        "camera_denied": _(
            "The browser does not let this page use the camera. Allow it in the browser's settings for this page, or "
            "open a picture."
        ),
        "camera_missing": _("No camera found. Connect one, or open a picture."),
        "camera_fails": _("The camera does not start. Another program may be using it."),
        "unreadable": _("{name} cannot be read as an image.", name="{name}"),
        "sixteen_bits": _(
            "{name} has 16 bits per channel. Convert it to 8 bits, like the training images.", name="{name}"
        ),
        "step_picture": _("The picture."),
        "found_dark": _(
            "Dark ink found: {width} × {height} pixels. It is inverted, scaled and centred as in MNIST.",
            width="{width}",
            height="{height}",
        ),
        "found_light": _(
            "Light ink found: {width} × {height} pixels. It is scaled and centred as in MNIST.",
            width="{width}",
            height="{height}",
        ),
        "cropped": _("It is cropped to the largest square in its centre."),
        "step_pixels": _("{size} × {size} pixels.", size="{size}"),
        "scaled_as_mnist": _("The longer side has 20 pixels, the centre of mass is in the middle."),
        "scaled": _("Scaled to the size of the training images."),
        "as_stored": _("As in the data set."),
        "step_numbers": _("Numbers."),
        "normalised": _("(pixel / 255 − {mean}) / {std}", mean="{mean}", std="{std}"),
        "none_here": _("This page contains no such image."),
        "image_right": _("{label}, classified correctly", label="{label}"),
        "image_wrong": _("{label}, classified as {predicted}", label="{label}", predicted="{predicted}"),
        "no_class": _("no class"),
        "comma": _(", "),
        "verdict_right": _("Correct."),
        "verdict_wrong": _("Wrong: it is {label}.", label="{label}"),
        "spoken": _("Prediction: {name}, {share}.", name="{name}", share="{share}"),
        "speed": _("computed on this device in {ms} ms", ms="{ms}"),
        "check": _(
            "The outputs that this device computes differ from PyTorch's by at most {difference} "
            "(images compared: {n}).",
            n="{n}",
            difference="{difference}",
        ),
    }


def _layer_words() -> dict[str, str]:
    return {
        "network": _("network"),
        "op_conv": _("Convolution"),
        "op_linear": _("Linear layer"),
        "op_matmul": _("Matrix product"),
        "op_batch_norm": _("Batch norm"),
        "op_layer_norm": _("Layer norm"),
        "op_group_norm": _("Group norm"),
        "op_relu": _("ReLU"),
        "op_max_pool": _("Max pooling"),
        "op_avg_pool": _("Average pooling"),
        "op_adaptive_avg_pool": _("Average pooling"),
        "op_adaptive_max_pool": _("Max pooling"),
        "op_mean": _("Mean"),
        "op_max": _("Maximum"),
        "op_sum": _("Sum"),
        "op_add": _("Sum"),
        "op_subtract": _("Difference"),
        "op_multiply": _("Product"),
        "op_divide": _("Quotient"),
        "op_concatenate": _("Concatenation"),
        "op_slice": _("Slice of the maps"),
        "op_softmax": _("Softmax"),
        "op_log_softmax": _("Log-softmax"),
        "op_sigmoid": _("Sigmoid"),
        "op_upsample": _("Upsampling"),
        "op_pad": _("Padding"),
        "groups": _("{n} groups", n="{n}"),
        "stride": _("stride {n}", n="{n}"),
        "parameters": _("{n} parameters", n="{n}"),
        "maps_of": _("{layer}: {n} maps, output {shape}", layer="{layer}", n="{n}", shape="{shape}"),
        "map_spoken": _("map {map}, from {low} to {high}", map="{map}", low="{low}", high="{high}"),
    }


def _explanation_words() -> dict[str, str]:
    return {
        "map_of": _("map {map} of {n}", map="{map}", n="{n}"),
        "unit_of": _("number {map} of {n}", map="{map}", n="{n}"),
        "map_label": _(
            "Map {map} of {layer}. {text}. The arrow keys move the pixel.", map="{map}", layer="{layer}", text="{text}"
        ),
        "unit_value": _("Its value: {value}", value="{value}"),
        "pixel_value": _("Row {y}, column {x}: {value}", y="{y}", x="{x}", value="{value}"),
        "layer_parameters": _("This layer has {n} parameters.", n="{n}"),
        "reads": _("Reads:"),
        "the_image": _("the normalised picture"),
        "padding_zero": _("padding: 0"),
        "not_explained": _("With the engine onnx, the page cannot show how this number was computed."),
        "grid_input": _("Input"),
        "grid_kernel": _("Kernel"),
        "grid_products": _("Products"),
        "grid_window": _("The numbers in the window"),
        "grid_map": _("All numbers of the map"),
        "conv_inputs": _("Input maps ({n}), kernels, and what each adds to this pixel", n="{n}"),
        "conv_products": _("The products of input map {input}", input="{input}"),
        "products_sum": _("Their sum: {sum}.", sum="{sum}"),
        "padding_note": _("Hatched: padding, zeros around the map."),
        "input_map": _("Input map {input} adds {sum}", input="{input}", sum="{sum}"),
        "bias": _("bias {value}", value="{value}"),
        "bias_name": _("bias"),
        "other_maps": _("({n} other maps)", n="{n}"),
        "linear_products": _("The largest of {n} products", n="{n}"),
        "unit": _("number {n}", n="{n}"),
        "unit_at": _("map {map}, row {y}, column {x}", map="{map}", y="{y}", x="{x}"),
        "others": _("{n} others", n="{n}"),
        "sum": _("sum"),
        "column_input": _("input"),
        "column_value": _("value"),
        "column_weight": _("weight"),
        "column_product": _("product"),
        "column_class": _("class"),
        "column_logit": _("logit z"),
        "column_result": _("result"),
        "batch_norm_text": _(
            "Subtracts the mean of the map over the training images, divides by the standard deviation, then scales "
            "and shifts by two trained numbers of the map:"
        ),
        "batch_norm_line": _(
            "Together: {factor} × input {offset}, for each pixel of this map.", factor="{factor}", offset="{offset}"
        ),
        "shortcut_text": _("A shortcut: the results of two paths are added pixel by pixel."),
        "max_text": _(
            "The largest of {n} numbers, {result}, becomes the pixel in row {y}, column {x}.",
            n="{n}",
            result="{result}",
            y="{y}",
            x="{x}",
        ),
        "mean_text": _("The mean of {n} numbers: {result}.", n="{n}", result="{result}"),
        "max_all": _("The largest of {n} numbers: {result}.", n="{n}", result="{result}"),
        "mean_maps": _("The mean of {n} maps at this pixel: {result}.", n="{n}", result="{result}"),
        "max_maps": _("The maximum of {n} maps at this pixel: {result}.", n="{n}", result="{result}"),
        "softmax_text": _("Each e^z is divided by the sum of all e^z, so the results are positive and add up to 1."),
        "concatenated": _("This is map {map} of input {input}.", map="{map}", input="{input}"),
        "sliced": _("This is map {map} of the input.", map="{map}"),
    }


def _error_words(part: str) -> dict[str, str]:
    return {
        "choose_cell": _("Choose a cell to see its images."),
        "no_mistakes": _("No mistakes."),
        "matrix_caption": _(
            "Rows: true class, columns: predicted class; all {part} images. Choose a cell to see its images.",
            part=part,
        ),
        "cell_spoken": _(
            "{count} × {label} classified as {predicted}", count="{count}", label="{label}", predicted="{predicted}"
        ),
        "cell_some": _("This page contains {shown} of {count}.", shown="{shown}", count="{count}"),
        "to_the_pad": _("Choose an image to see what the network computes from it."),
    }


def _study_words() -> dict[str, str]:
    """Returns the text of: where the network looked, several networks, epochs, an interactive convolution."""
    return {
        "predicted_class": _("the predicted class"),
        "where_slow": _("About {seconds} s on this device.", seconds="{seconds}"),
        "where_for": _("Shown for the class {name}.", name="{name}"),
        "occlusion_text": _(
            "The largest change, {value} points, is at {x} % from the left and {y} % from the top.",
            value="{value}",
            x="{x}",
            y="{y}",
        ),
        "activation_text": _(
            "The strongest activation is at {x} % from the left and {y} % from the top.", x="{x}", y="{y}"
        ),
        "neighbour": _("{label}, similarity {similarity}", label="{label}", similarity="{similarity}"),
        "answer_of": _("{label}: {value}", label="{label}", value="{name}"),
        "disagreement": _("{label}; {answers}", label="{label}", answers="{answers}"),
        "no_disagreement": _("None of the images on this page."),
        "initial_weights": _("before training"),
        "after_epoch": _("after epoch {epoch}", epoch="{epoch}"),
        "validation_accuracy": _("validation accuracy {accuracy}", accuracy="{accuracy}"),
        "no_accuracy": _("accuracy was not measured here"),
        "curve": _("Validation accuracy by epoch, from {low} to {high}", low="{low}", high="{high}"),
        "filters": _("The {n} filters of the first layer", n="{n}"),
        "epoch_prediction": _("The current picture: {name}", name="{name}"),
        "play_layer": _("Layer {layer}, input of {size} × {size} pixels.", layer="{layer}", size="{size}"),
        "play_network": _("network"),
        "play_yours": _("yours"),
        "play_output": _("output size"),
        "play_parameters": _("parameters"),
        "play_flops": _("FLOPs"),
        "play_too_small": _("The kernel is larger than the padded input."),
        "play_picture": _(
            "Input of {side} × {side} pixels, output of {output} × {output} pixels", side="{side}", output="{output}"
        ),
    }
