"""Prompts, placeholders, pixels: what goes into the model."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from model_helpers import NUM_LATENTS, picture, processor, tokenizer
from PIL import Image
from sentencepiece import SentencePieceTrainer
from torchvision.transforms import functional as vision
from torchvision.transforms.functional import InterpolationMode

from model import AkiImageProcessor, AkiProcessor
from model.attention import QUESTION_END, token_types
from model.chat_template import SYSTEM_MESSAGE, chat_template, format_of

QUESTION = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}
ANSWER = {"role": "assistant", "content": "A cat."}
SYSTEM = f"<|system|>\n{SYSTEM_MESSAGE}<|end|>\n"


def test_system_message_is_the_paper_s():
    assert SYSTEM_MESSAGE == (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions."
    )


def test_prompt_of_the_phi_family():
    text = processor().apply_chat_template([QUESTION], add_generation_prompt=True)
    assert text == f"<s>{SYSTEM}<|user|>\n<image>\nWhat is this?<|end|>\n<|assistant|>\n"


def test_answer_ends_with_end_of_text():
    text = processor().apply_chat_template([QUESTION, ANSWER])
    assert text.endswith("<|assistant|>\nA cat.<|endoftext|>")


def test_earlier_answers_end_with_end_of_turn_and_pictures_stand_where_they_are():
    third = {
        "role": "user",
        "content": [{"type": "text", "text": "And"}, {"type": "image"}, {"type": "text", "text": "?"}],
    }
    text = processor().apply_chat_template([QUESTION, ANSWER, third], add_generation_prompt=True)
    assert text == (
        f"<s>{SYSTEM}<|user|>\n<image>\nWhat is this?<|end|>\n<|assistant|>\nA cat.<|end|>\n"
        "<|user|>\nAnd\n<image>\n?<|end|>\n<|assistant|>\n"
    )


def test_own_system_message_replaces_the_default():
    own = {"role": "system", "content": "Be brief."}
    text = processor().apply_chat_template([own, QUESTION])
    assert text.startswith("<s><|system|>\nBe brief.<|end|>\n<|user|>")
    assert SYSTEM_MESSAGE not in text


def test_content_as_plain_text_is_left_alone():
    text = processor().apply_chat_template([{"role": "user", "content": "<image>Why?"}], add_generation_prompt=True)
    assert "<|user|>\n<image>Why?<|end|>" in text


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["image", "a"], "<image>\na"),
        (["image", "\na"], "<image>\na"),
        (["a\n", "image"], "a\n<image>"),
        (["a", "b"], "ab"),
        (["image", "image", "a"], "<image>\n<image>\na"),
        (["a", "", "image"], "a\n<image>"),
    ],
)
def test_line_breaks_between_parts(parts, expected):
    content = [{"type": "image"} if part == "image" else {"type": "text", "text": part} for part in parts]
    text = processor().apply_chat_template([{"role": "user", "content": content}])
    assert text.endswith(f"<|user|>\n{expected}<|end|>\n")


def test_text_first_puts_pictures_behind_the_text_of_their_turn():
    own = processor(image_order="text_first")
    text = own.apply_chat_template([QUESTION], add_generation_prompt=True)
    assert "<|user|>\nWhat is this?\n<image><|end|>\n<|assistant|>" in text
    as_given = own.apply_chat_template([QUESTION], image_order="image_first")
    assert "<image>\nWhat is this?" in as_given


def test_unknown_order_is_an_error():
    with pytest.raises(ValueError, match="image_order='texts_first'"):
        processor().apply_chat_template([{"role": "user", "content": "a"}], image_order="texts_first")


def test_unknown_part_is_an_error():
    with pytest.raises(Exception, match="type 'video', expected 'text' or 'image'"):
        processor().apply_chat_template([{"role": "user", "content": [{"type": "video"}]}])


@pytest.mark.parametrize(
    ("family", "end_of_question", "end_of_turn", "prompt_end"),
    [
        ("phi3", "<|assistant|>", "<|end|>", "<|end|>\n<|assistant|>\n"),
        ("qwen2", "<|im_start|>", "<|im_end|>", "<|im_end|>\n<|im_start|>assistant\n"),
        ("llama", "<|end_header_id|>", "<|eot_id|>", "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    ],
)
def test_families(family, end_of_question, end_of_turn, prompt_end):
    own = processor(family)
    words = own.tokenizer
    assert words.convert_ids_to_tokens(own.question_end_token_id) == end_of_question
    assert own.stop_token_ids == [words.eos_token_id, words.convert_tokens_to_ids(end_of_turn)]
    text = own.apply_chat_template([QUESTION], add_generation_prompt=True)
    assert text.endswith(f"What is this?{prompt_end}")
    ids = words.encode(text, add_special_tokens=False)
    last_image = len(ids) - 1 - ids[::-1].index(own.image_token_id)
    after = ids[last_image + 1 :]
    asked = words.decode(after[: after.index(own.question_end_token_id)])
    assert asked.startswith("\nWhat is this?")  # the whole question lies before the first mark behind the picture


def test_question_end_follows_the_template_not_a_number():
    own = processor("phi3")
    own.chat_template = "{% for m in messages %}<|user|>{{ m['content'] }}<|end|>{% endfor %}" + (
        "{% if add_generation_prompt %}<|endoftext|>answer: {% endif %}"
    )
    assert own.question_end_token_id == own.tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_template_without_a_mark_for_the_answer_is_refused():
    own = processor()
    own.chat_template = (
        "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
    )
    with pytest.raises(ValueError, match="holds no special token"):
        _ = own.question_end_token_id


def test_tokenizer_of_no_known_family_is_refused():
    words = tokenizer()
    words.get_vocab = lambda: {"<image>": 1}
    with pytest.raises(ValueError, match="no known family"):
        format_of(words)


def test_tokenizer_without_placeholder_is_refused():
    words = tokenizer()
    words.get_vocab = lambda: {"a": 1}
    with pytest.raises(ValueError, match="no token '<image>'"):
        AkiProcessor(AkiImageProcessor(), words)


def test_gap_behind_the_start_token():
    own = processor(chat_template=chat_template(format_of(tokenizer()), after_start=" "))
    assert own.apply_chat_template([QUESTION]).startswith("<s> <|system|>\n")


PHI_TOKENS = [
    "<|endoftext|>",
    "<|assistant|>",
    "<|system|>",
    "<|end|>",
    "<|user|>",
    "<pad>",
    "<image>",
    "<|endofchunk|>",
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A published folder's tokenizer: Llama's kind, Phi's role tokens, a config.json of a hub mixin."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "text").write_text("black cats and what is this picture of\n" * 50)
    SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        minloglevel=2,
    )
    added = {token: 300 + place for place, token in enumerate(PHI_TOKENS)}
    facts = {
        str(number): {
            "content": token,
            "lstrip": False,
            "rstrip": token in PHI_TOKENS[1:5],
            "normalized": False,
            "single_word": False,
            "special": True,
        }
        for token, number in ({"<unk>": 0, "<s>": 1} | added).items()
    }
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "legacy": False,
        "add_bos_token": True,
        "add_eos_token": True,
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "added_tokens_decoder": facts,
    }
    mixin = {"initial_tokenizer_len": 306, "num_vision_tokens": 2, "pad_token_id": 305, "n_px": 28, "tokenizer": None}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps(mixin))
    return folder


def test_published_tokenizer_gives_the_ids_of_training(published):
    """A lone word mark behind `<s>`, line breaks swallowed behind role tokens but not behind the picture, answers
    without a word mark, no end of text behind a prompt.
    """
    own = AkiProcessor.from_pretrained(published)
    words = own.tokenizer
    prompt = own.apply_chat_template([QUESTION], add_generation_prompt=True)
    tokens = words.convert_ids_to_tokens(own(images=[picture()], text=prompt)["input_ids"][0])
    assert tokens[:3] == ["<s>", "▁", "<|system|>"]
    start = tokens.index("<|user|>")
    assert tokens[start - 1 : start + 4] == ["<|end|>", "<|user|>", "<image>", "<image>", "<0x0A>"]
    assert tokens[-2:] == ["<|end|>", "<|assistant|>"]
    answered = words.convert_ids_to_tokens(words(f"{prompt}black", add_special_tokens=False)["input_ids"])
    assert not answered[answered.index("<|assistant|>") + 1].startswith("▁")
    plain = words.convert_ids_to_tokens(own(text="black")["input_ids"][0])
    assert plain[0] == "<s>"
    assert plain[1].startswith("▁b")
    assert plain[-1] != "<|endoftext|>"
    assert words.convert_ids_to_tokens(own.stop_token_ids) == ["<|endoftext|>", "<|end|>"]
    assert words.convert_ids_to_tokens(own.question_end_token_id) == "<|assistant|>"
    assert (own.image_token_id, own.image_processor.size, own.num_latents) == (306, 28, 2)


def test_published_tokenizer_survives_saving(published, tmp_path):
    own = AkiProcessor.from_pretrained(published)
    own.save_pretrained(tmp_path)
    prompt = own.apply_chat_template([QUESTION], add_generation_prompt=True)
    again = AkiProcessor.from_pretrained(tmp_path)
    assert again.apply_chat_template([QUESTION], add_generation_prompt=True) == prompt
    assert again(images=[picture()], text=prompt)["input_ids"] == own(images=[picture()], text=prompt)["input_ids"]


def test_published_tokenizer_that_does_not_fit_its_configuration(published, tmp_path):
    for file in published.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    raw = json.loads((published / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(raw | {"initial_tokenizer_len": 299}))
    with pytest.raises(ValueError, match=r"gives <image> the id 306, config.json says 299"):
        AkiProcessor.from_pretrained(tmp_path)


def test_one_mark_becomes_as_many_placeholders_as_there_are_latents():
    own = processor()
    inputs = own(images=[picture()], text="<image>Hello", return_tensors="pt")
    assert (inputs["input_ids"] == own.image_token_id).sum() == NUM_LATENTS
    assert inputs["pixel_values"].shape == (1, 3, 28, 28)
    assert own.tokenizer.decode(inputs["input_ids"][0]).endswith("Hello")


def test_batch_of_prompts_with_nested_pictures_and_left_padding():
    own = processor()
    texts = ["<image><image>ab", "c", "<image>de"]
    pictures = [[picture(seed=0), picture(seed=1)], [], [picture(seed=2)]]
    inputs = own(images=pictures, text=texts, padding=True, return_tensors="pt")
    assert (inputs["input_ids"] == own.image_token_id).sum(-1).tolist() == [2 * NUM_LATENTS, 0, NUM_LATENTS]
    assert inputs["attention_mask"][1].tolist() == [0] * (2 * NUM_LATENTS + 1) + [1]
    one = own(images=[picture(seed=2)], text=texts[2], return_tensors="pt")["pixel_values"]
    assert torch.equal(inputs["pixel_values"][2], one[0])


def test_token_types_of_the_library_s_switch_are_ours():
    own = processor()
    text = own.apply_chat_template([QUESTION], add_generation_prompt=True)
    inputs = own(images=[picture()], text=text, return_mm_token_type_ids=True, return_tensors="pt")
    wanted = token_types(inputs["input_ids"], own.image_token_id, own.question_end_token_id)
    assert torch.equal(inputs["mm_token_type_ids"], wanted)
    assert QUESTION_END in wanted


@pytest.mark.parametrize("none", [None, [], [[], []]])
def test_batch_without_pictures(none):
    inputs = processor()(images=none, text=["a", "b"], return_tensors="pt")
    assert "pixel_values" not in inputs


def test_conversation_to_model_inputs():
    own = processor()
    turn = {"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Q"}]}
    inputs = own.apply_chat_template(
        [turn], add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    ids = inputs["input_ids"][0].tolist()
    assert ids.count(own.tokenizer.bos_token_id) == 1
    assert ids.count(own.image_token_id) == NUM_LATENTS
    rendered = own.apply_chat_template([turn], add_generation_prompt=True)
    assert own(images=[picture()], text=rendered, return_tensors="pt")["input_ids"][0].tolist() == ids


def test_mask_of_the_answer_s_tokens():
    own = processor()
    turn = {"role": "user", "content": [{"type": "image", "image": picture()}, {"type": "text", "text": "Q"}]}
    inputs = own.apply_chat_template([turn, ANSWER], tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    ids, mask = (np.array(inputs[name][0]) for name in ("input_ids", "assistant_masks"))
    assert own.tokenizer.decode(ids[mask == 1]) == "A cat.<|endoftext|>"


@pytest.mark.parametrize(
    ("text", "pictures", "message"),
    [
        ("<image>a", [], "1 <image> marks but 0 pictures"),
        ("<image>a", None, "1 <image> marks but 0 pictures"),
        ("a", [picture()], "0 <image> marks but 1 pictures"),
        ("<image>a", [picture(), picture()], "1 <image> marks but 2 pictures"),
        ("<image><image>a", [picture()], "2 <image> marks but 1 pictures"),
        (["<image>a", "b"], [[], [picture()]], "text 1 of 2 has 1 <image> marks but 0 pictures"),
        ("", None, "text 1 of 1 is empty"),
        (["a", "  \n"], None, "text 2 of 2 is empty"),
    ],
)
def test_bad_prompts(text, pictures, message):
    with pytest.raises(ValueError, match=message):
        processor()(images=pictures, text=text)


@pytest.mark.parametrize(
    "thing", [3, b"x", np.zeros((6, 6, 5), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((2, 2, 2, 3), np.uint8)]
)
def test_no_picture(thing):
    with pytest.raises(ValueError, match=r"a picture is .* expected a PIL picture, a path, or uint8"):
        AkiImageProcessor(size=28)(thing)


@pytest.mark.parametrize("thing", [3, np.zeros((6, 6, 5), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_no_picture_beside_a_text(thing):
    with pytest.raises(ValueError, match=r"a picture is .* expected a PIL picture, a path, or uint8"):
        processor()(images=[thing], text="<image>a")


def test_path_object_is_a_picture(tmp_path):
    path = as_file(tmp_path / "a.png", picture())
    own = processor()
    by_text, by_path = (own(images=[each], text="<image>")["pixel_values"] for each in (path, Path(path)))
    assert torch.equal(by_text, by_path)


@pytest.mark.parametrize(
    "message",
    [{"role": "user"}, {"content": "a"}, {"role": "user", "content": ""}, {"role": "user", "content": []}, "a"],
)
def test_message_without_role_or_content(message):
    for conversation in ([message], [[message]]):
        with pytest.raises(ValueError, match="message 1 of 1 is"):
            processor().apply_chat_template(conversation)


def test_damaged_processor_settings_are_named(tmp_path):
    processor().save_pretrained(tmp_path)
    (tmp_path / "processor_config.json").write_text("{")
    with pytest.raises(ValueError, match=r"processor_config.json does not read as JSON"):
        AkiProcessor.from_pretrained(tmp_path)


def test_empty_conversation():
    with pytest.raises(ValueError, match="conversation is empty"):
        processor().apply_chat_template([])
    with pytest.raises(ValueError, match="conversation is empty"):
        processor().apply_chat_template([[{"role": "user", "content": "a"}], []])


def original(image: Image.Image, size: int) -> np.ndarray:
    """The original's preprocessing by torchvision's functions: squash in the picture's own mode, RGB, to [-1, 1]."""
    small = vision.resize(image, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True).convert("RGB")
    return vision.normalize(vision.to_tensor(small), [0.5] * 3, [0.5] * 3).numpy()


def odd(mode: str) -> Image.Image:
    if mode == "I;16":
        values = np.random.default_rng(0).integers(0, 65536, (30, 40), dtype=np.uint16)
        return Image.fromarray(values)
    if mode in ("F", "I"):
        return picture().convert("L").convert(mode)
    if mode == "PA":
        return picture().convert("P").convert("PA")
    return picture(mode=mode)


MODES = ["RGB", "L", "P", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "LAB", "1", "I", "F", "I;16"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [28, 64])
def test_pixels_are_the_original_s(mode, size):
    image = odd(mode) if mode != "LAB" else Image.new("LAB", (40, 30), (120, 130, 140))
    try:
        expected = original(image, size)
    except ValueError:  # a mode that cannot become RGB stops the original, too
        with pytest.raises(ValueError, match="conversion"):
            AkiImageProcessor(size=size)(image)
        return
    found = AkiImageProcessor(size=size)(image)["pixel_values"][0].numpy()
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (500, 2), (28, 28), (29, 27)])
def test_odd_shapes(width, height):
    image = picture(width, height)
    assert np.array_equal(AkiImageProcessor(size=28)(image)["pixel_values"][0].numpy(), original(image, 28))


def test_rgb_first_is_another_picture_for_palettes_only():
    first, after = AkiImageProcessor(size=28, convert_rgb_first=True), AkiImageProcessor(size=28)
    palette, plain = picture(mode="P"), picture()
    assert not torch.equal(first(palette)["pixel_values"], after(palette)["pixel_values"])
    assert torch.equal(first(plain)["pixel_values"], after(plain)["pixel_values"])


def as_file(path, image: Image.Image, **kwargs) -> str:
    image.save(path, **kwargs)
    return str(path)


def test_rotation_in_exif_is_left_to_the_caller(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    path = as_file(tmp_path / "turned.png", picture(), exif=exif)
    stored = AkiImageProcessor(size=28)(picture())["pixel_values"]
    assert torch.equal(AkiImageProcessor(size=28)(path)["pixel_values"], stored)
    assert torch.equal(AkiImageProcessor(size=28)(Image.open(path))["pixel_values"], stored)


def test_paths_arrays_and_tensors_are_the_same_picture(tmp_path):
    image = picture(mode="P")
    path = as_file(tmp_path / "palette.png", image)
    own = processor()
    by_path = own(images=[path], text="<image>", return_tensors="pt")["pixel_values"]
    assert torch.equal(by_path, own(images=[image], text="<image>", return_tensors="pt")["pixel_values"])
    plain = np.array(picture())
    forms = [picture(), plain, plain.transpose(2, 0, 1), torch.from_numpy(plain)]
    pixels = AkiImageProcessor(size=28)(forms)["pixel_values"]
    assert all(torch.equal(pixels[0], each) for each in pixels)


def test_pictures_that_do_not_open(tmp_path, monkeypatch):
    whole = io.BytesIO()
    picture(200, 200).save(whole, "PNG")
    cut = Image.open(io.BytesIO(whole.getvalue()[:2000]))
    with pytest.raises(ValueError, match="image 2 of 2 does not open"):
        AkiImageProcessor(size=28)([picture(), cut])
    with pytest.raises(ValueError, match=r"gone.png does not open as a picture"):
        processor()(images=[str(tmp_path / "gone.png")], text="<image>")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text.png does not open as a picture"):
        processor()(images=[str(tmp_path / "text.png")], text="<image>")
    with monkeypatch.context() as patch:
        patch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        with pytest.raises(ValueError, match=r"bomb.png does not open as a picture"):
            processor()(images=[as_file(tmp_path / "bomb.png", picture())], text="<image>")
    with pytest.raises(ValueError, match="float64"):
        AkiImageProcessor(size=28)(np.zeros((4, 4, 3)))
