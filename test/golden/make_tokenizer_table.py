"""Small tokenizers of every kind of part, and what Python's tokenizers makes of odd texts: test/golden/tokenizer/table.json.

python test/golden/make_tokenizer_table.py
"""

import base64
import json
from pathlib import Path

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "the cat, the dog", "Hello  World!! (yes) -- no...\n\n tabs\tand\u00a0no-break  space \r\n", " lead and trail  ",
    "", " ", "\n", "don't we'll I'M they've 'tis", "a_b snake-case x=1;y<2 $5 @me #tag ~^`|",
    "123,456.78 ½ Ⅷ ١٢٣ x²", "ÀÉÎ naïve ΣΑΣ ΟΔΟΣ İstanbul ﬁne ẞ", "e\u0301 decomposed, é composed, ņ",
    "你好，世界 𠀀𠀁 日本語テキスト 한국어", "😀👩‍👩‍👧 ok 🇨🇭", "\ufeffmark \u0085 next \u2028 line\u2029 \u3000wide",
    "\u200bzero\u200d \u0000 nul \u0007 bell \ufffd", "ไทย हिन्दी العربية עברית", "①②③ ｆｕｌｌ　ｗｉｄｔｈ ㍿ ～ ﷺ",
    "<s>hi</s> <mask> x<mask>y  <mask>  z", "theone one theone. ONE one's", "<|sep|><|sep|> <|sep|>x", "price $1 costs $$2",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa b",
    "ＡＢ ﬁx\u3000½ e\u0301e\u0301\u0302 a\u200bb\u200b 😀 ㈱ 👨\u200d👩 \u00a0\t", "▁already ▁marked", "☃ ☃☃ ☃a☃", "w-x-y--z",
]
CORPUS = TEXTS * 4


def bpe(pre=None, norm=None, vocab=420, train_pre=None, **options):
    """Trained without the pre-tokenizer, so that merges cross every border: where a text is split shows in the ids."""
    unk = options.get("unk_token")
    tokenizer = Tokenizer(models.BPE())
    if norm is not None:
        tokenizer.normalizer = norm
    if train_pre is not None:
        tokenizer.pre_tokenizer = train_pre
    special = [unk] if unk else []
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=vocab, show_progress=False, special_tokens=special))
    made = json.loads(tokenizer.to_str())
    made["model"].update(options)
    made["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(made))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    return tokenizer


def byte_bpe(pre):
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = level
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=520, show_progress=False, initial_alphabet=alphabet))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre, level]) if pre is not None else level
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def changed(tokenizer, change):
    made = json.loads(tokenizer.to_str())
    change(made)
    return Tokenizer.from_str(json.dumps(made))


def with_added(tokenizer, *tokens):
    tokenizer.add_tokens(list(tokens))
    return tokenizer


def unigram(byte_fallback=False, pre=None, norm=None):
    pieces = sorted({p for text in TEXTS for word in text.replace(" ", "▁").split("▁") for p in ("▁" + word[:3], word[:2], word[:4])} - {"", "▁☃"})
    letters = sorted({c for c in "▁abcdefghijklmnopqrstuvwxyzTHW.,"} - set(pieces))
    vocab = [("<unk>", 0.0)] + [(p, -5.0 - 0.25 * len(p) - 0.01 * i) for i, p in enumerate(pieces) if "☃" not in p and "𠀀" not in p] + [(c, -9.0) for c in letters]
    if byte_fallback:
        vocab += [(f"<0x{b:02X}>", -15.0) for b in range(256)]
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=0, byte_fallback=byte_fallback))
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    if norm is not None:
        tokenizer.normalizer = norm
    return tokenizer


def words(model, pre):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre
    return tokenizer


def post(processor):
    tokenizer = bpe(pre_tokenizers.WhitespaceSplit(), unk_token="<unk>")
    tokenizer.add_special_tokens(["<s>", "</s>"])
    ids = {t: tokenizer.token_to_id(t) for t in ("<s>", "</s>")}
    tokenizer.post_processor = processor(ids)
    return tokenizer


PUNCT = Regex(r"\s+|\p{P}")
BEHAVIOURS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
P = pre_tokenizers
N = normalizers
WORD_VOCAB = {w: i for i, w in enumerate(["[UNK]", "the", "cat", "dog", ",", "Hello", "World", "!", "hi", "##s", "do", "##n", "one", "ok", "a", "a_b", "##bc"])}

# Of SentencePiece 0.2, by a normalization_rule_tsv of twelve rules: full-width letters, ligatures, spaces, é from e and
# U+0301, ½, nothing for U+200B, a smile, a sequence that is joined.
CHARACTER_MAP = base64.b64decode(
    "AAQAAAAgAAAJDQAAAQAAgMwYAgCBBQAAGwAAgKARAAALAACAgCgCAIsNAAAAAACAgCUAALEFAAADAACArAACAIF5AACAbAIAGAAA"
    "gBQAAIAWAACAoRkAAJ9IAgCRnAIAohEAAIiUAgCohAMA4hgCAL1xAACAxAIA8IwCALysAgCY6AIAjTQDAJ9IAgCRvAIACQAAgKkd"
    "AACADQAAEQAAgCYAAAApAAAAKAAAACsAAAAqAAAALQAAACwAAAAvAAAALgAAADEAAAAwAAAAMwAAADIAAAA1AAAANAAAADcAAAA2"
    "AAAAOQAAADgAAAA7AAAAOgAAAD0AAAA8AAAAPwAAAD4AAABBAAAAQAAAAEMAAABCAAAARQAAAEQAAABHAAAARgAAAEkAAABIAAAA"
    "SwAAAEoAAABNAAAATAAAAE8AAABOAAAAUQAAAFAAAABTAAAAUgAAAFUAAABUAAAAVwAAAFYAAABZAAAAWAAAAFsAAABaAAAAXQAA"
    "AFwAAABfAAAAXgAAAGEAAABgAAAAYwAAAGIAAABlAAAAZAAAAGcAAABmAAAAaQAAAGgAAABrAAAAagAAAG0AAABliAIAbwAAAG4A"
    "AABxAAAAcAAAAHMAAAByAAAAdQAAAHQAAAB3AAAAdgAAAHkAAAB4AAAAewAAAHoAAAB9AAAAfAAAAH8AAAB+AAAAgQAAAIAAAACD"
    "AAAAggAAAIUAAACEAAAAhwAAAIYAAACJAAAAiAAAAIsAAACKAAAAjQAAAIwAAACPAAAAjgAAAJEAAACQAAAAkwAAAJIAAACVAAAA"
    "lAAAAJcAAACWAAAAmQAAAJgAAACbAAAAmgAAAJ0AAACcAAAAnwAAAJ4AAAChAAAAoAAAAKMAAACiAAAApQAAAKQAAACnAAAApgAA"
    "AKkAAACoAAAAqwAAAKoAAACtAAAArAAAAK8AAACuAAAAsQAAALAAAACzAAAAsgAAALUAAAC0AAAAtwAAALYAAAC5AAAAuAAAALsA"
    "AAC6AAAAvQAAALwAAAC/AAAAvgAAAMEAAADAAAAAwwAAAMIAAADFAAAAxAAAAMcAAADGAAAAyQAAAMgAAADCsAEAygAAAM0AAADM"
    "AAAAzwAAAM4AAADRAAAA0AAAANMAAADSAAAA1QAAANQAAADXAAAA1gAAANkAAADYAAAA2wAAANoAAADdAAAA3AAAAN8AAADeAAAA"
    "4QAAAOAAAADjAAAA4gAAAOUAAADkAAAA5wAAAO8UAQDpAAAA6AAAAOKIAQDj7AEA7QAAAOwAAADvAAAA7gAAAPEAAADwAAAA8wAA"
    "APIAAAD1AAAA9AAAAPcAAAD2AAAA8MgBAPgAAAD7AAAA+gAAAP0AAAD8AAAA/wAAAP4AAAAAIAAo5qCqKQArADHigYQyADopAEEA"
    "QgBmaQDDqQA="
)

CASES = {
    **{f"Split {b}": lambda b=b: byte_bpe(P.Split(PUNCT, b)) for b in BEHAVIOURS},
    **{f"Split {b}, inverted": lambda b=b: byte_bpe(P.Split(PUNCT, b, invert=True)) for b in BEHAVIOURS},
    **{f"Split at a string, {b}": lambda b=b: byte_bpe(P.Split("the", b)) for b in BEHAVIOURS},
    "Split at a dot as a string": lambda: byte_bpe(P.Split(".", "isolated")),
    "Split of GPT-4": lambda: byte_bpe(P.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated")),
    "ByteLevel": lambda: byte_bpe(P.ByteLevel(add_prefix_space=False)) if False else changed(byte_bpe(None), lambda m: m.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True})),
    "ByteLevel with a space in front": lambda: changed(byte_bpe(None), lambda m: m.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True})),
    "ByteLevel without a regex": lambda: byte_bpe(None),
    "Digits": lambda: byte_bpe(P.Digits()),
    "Digits one by one": lambda: byte_bpe(P.Digits(individual_digits=True)),
    **{f"Punctuation {b}": lambda b=b: byte_bpe(P.Punctuation(b)) for b in BEHAVIOURS},
    "Whitespace": lambda: byte_bpe(P.Whitespace()),
    "WhitespaceSplit": lambda: byte_bpe(P.WhitespaceSplit()),
    "BertPreTokenizer": lambda: byte_bpe(P.BertPreTokenizer()),
    "CharDelimiterSplit": lambda: byte_bpe(P.CharDelimiterSplit("-")),
    "FixedLength": lambda: byte_bpe(P.FixedLength(3)),
    "UnicodeScripts": lambda: byte_bpe(P.UnicodeScripts()),
    "Sequence": lambda: byte_bpe(P.Sequence([P.Digits(), P.Split("e", "merged_with_next"), P.Punctuation()])),
    **{f"Metaspace {s}{'' if split else ', whole'}": lambda s=s, split=split: bpe(P.Metaspace(prepend_scheme=s, split=split), norm=None, train_pre=None, unk_token="<unk>") for s in ("always", "first", "never") for split in (True, False)},
    "Metaspace first after an added token": lambda: with_added(bpe(P.Metaspace(prepend_scheme="first"), unk_token="<unk>"), AddedToken("one", normalized=True), AddedToken("<mask>", normalized=False)),
    "Metaspace of an old file": lambda: changed(bpe(None, unk_token="<unk>"), lambda m: m.update(pre_tokenizer={"type": "Metaspace", "replacement": "▁", "add_prefix_space": False, "prepend_scheme": "never"})),
    "Metaspace of an old file with a prefix": lambda: changed(bpe(None, unk_token="<unk>"), lambda m: m.update(pre_tokenizer={"type": "Metaspace", "replacement": "▁", "str_rep": "▁", "add_prefix_space": True})),
    "no steps": lambda: bpe(unk_token="<unk>"),
    "NFC": lambda: bpe(norm=N.NFC()), "NFD": lambda: bpe(norm=N.NFD()), "NFKC": lambda: bpe(norm=N.NFKC()), "NFKD": lambda: bpe(norm=N.NFKD()),
    "Lowercase": lambda: bpe(norm=N.Lowercase()), "StripAccents": lambda: bpe(norm=N.StripAccents()),
    "NFD and StripAccents": lambda: bpe(norm=N.Sequence([N.NFD(), N.StripAccents(), N.Lowercase()])),
    "Strip": lambda: bpe(norm=N.Strip()), "Strip left": lambda: bpe(norm=N.Strip(right=False)), "Strip right": lambda: bpe(norm=N.Strip(left=False)),
    "Prepend": lambda: bpe(norm=N.Prepend("▁")),
    "Strip and Prepend": lambda: bpe(norm=N.Sequence([N.Strip(), N.Prepend("▁")])),
    "Replace a regex": lambda: bpe(norm=N.Replace(Regex(r"\s{2,}|\p{P}"), "$1\\1")),
    "Replace a string": lambda: bpe(norm=N.Replace(".", "$&")),
    "Replace spaces": lambda: bpe(norm=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")])),
    "Precompiled": lambda: bpe(norm=N.Precompiled(CHARACTER_MAP)),
    "Precompiled, then spaces as one": lambda: unigram(pre=P.Metaspace(), norm=N.Sequence([N.Precompiled(CHARACTER_MAP), N.Replace(Regex(" {2,}"), " ")])),
    "Nmt": lambda: bpe(norm=N.Nmt()), "ByteLevel normalizer": lambda: bpe(norm=N.ByteLevel()),
    "BertNormalizer": lambda: bpe(norm=N.BertNormalizer()),
    "BertNormalizer with case": lambda: bpe(norm=N.BertNormalizer(lowercase=False)),
    "BertNormalizer strips accents alone": lambda: bpe(norm=N.BertNormalizer(lowercase=False, strip_accents=True, clean_text=False, handle_chinese_chars=False)),
    "BPE without unk": lambda: bpe(P.Whitespace(), vocab=120),
    "BPE unk": lambda: bpe(P.Whitespace(), vocab=90, unk_token="<unk>"),
    "BPE fuses unk": lambda: bpe(P.Whitespace(), vocab=90, unk_token="<unk>", fuse_unk=True),
    "BPE fuses unk in words alone": lambda: bpe(P.Split("☃", "isolated"), vocab=60, unk_token="<unk>", fuse_unk=True),
    "BPE byte_fallback": lambda: changed(bpe(P.Whitespace(), vocab=90, unk_token="<unk>"), lambda m: (m["model"]["vocab"].update({f"<0x{b:02X}>": 1000 + b for b in range(256)}), m["model"].update(byte_fallback=True))),
    "BPE byte_fallback with bytes missing": lambda: changed(bpe(P.Whitespace(), vocab=90, unk_token="<unk>", fuse_unk=True), lambda m: (m["model"]["vocab"].update({f"<0x{b:02X}>": 1000 + b for b in range(128, 232)}), m["model"].update(byte_fallback=True))),
    "BPE ignore_merges": lambda: changed(byte_bpe(P.Split(PUNCT, "isolated")), lambda m: (m["model"]["vocab"].update({"theone": 5000, "cat": 5001}), m["model"].update(ignore_merges=True))),
    "BPE end_of_word_suffix": lambda: (lambda t: (t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False, end_of_word_suffix="</w>")), t)[1])(words(models.BPE(end_of_word_suffix="</w>"), P.Whitespace())),
    "BPE continuing_subword_prefix": lambda: (lambda t: (t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False, continuing_subword_prefix="##")), t)[1])(words(models.BPE(continuing_subword_prefix="##"), P.Whitespace())),
    "BPE with merges as texts": lambda: bpe(P.Whitespace(), vocab=200, train_pre=P.WhitespaceSplit()),
    "Unigram": lambda: unigram(pre=P.Metaspace()), "Unigram whole": lambda: unigram(norm=N.Replace(" ", "▁")),
    "Unigram over words": lambda: unigram(pre=P.WhitespaceSplit()),
    "Unigram byte_fallback": lambda: unigram(True, pre=P.Metaspace()),
    "WordPiece": lambda: words(models.WordPiece(WORD_VOCAB, unk_token="[UNK]"), P.BertPreTokenizer()),
    "WordPiece of few characters": lambda: words(models.WordPiece(WORD_VOCAB, unk_token="[UNK]", max_input_chars_per_word=3), P.Whitespace()),
    "WordLevel": lambda: words(models.WordLevel(WORD_VOCAB, unk_token="[UNK]"), P.Whitespace()),
    "added tokens": lambda: with_added(byte_bpe(P.Split(PUNCT, "isolated")), "<mask>", AddedToken("<s>", special=True), AddedToken("</s>", special=True)),
    "added, lstrip": lambda: with_added(byte_bpe(None), AddedToken("<mask>", lstrip=True)),
    "added, rstrip": lambda: with_added(byte_bpe(None), AddedToken("<mask>", rstrip=True)),
    "added, lstrip and rstrip": lambda: with_added(byte_bpe(None), AddedToken("<mask>", lstrip=True, rstrip=True), AddedToken("<|sep|>", lstrip=True, rstrip=True)),
    "added, single_word": lambda: with_added(byte_bpe(None), AddedToken("one", single_word=True)),
    "added, single_word and normalized": lambda: with_added(bpe(norm=N.Lowercase(), unk_token="<unk>"), AddedToken("ONE", single_word=True, normalized=True), AddedToken("Hello", normalized=False)),
    "added, normalized and not": lambda: with_added(bpe(norm=N.Lowercase(), unk_token="<unk>"), AddedToken("THE", normalized=True), AddedToken("cat", normalized=False)),
    "added, one within another": lambda: with_added(byte_bpe(None), "the", "theone", "<|sep|>", "<|sep|><|sep|>", "sep"),
    "added, normalized without a normalizer": lambda: with_added(byte_bpe(None), AddedToken("the c", normalized=True), AddedToken(" cat", normalized=False), AddedToken("dog", normalized=False)),
    "added, whitespace": lambda: with_added(byte_bpe(None), AddedToken("  ", normalized=False), AddedToken("\n\n", normalized=False), AddedToken("<mask>", lstrip=True, normalized=False)),
    "TemplateProcessing": lambda: post(lambda i: processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=list(i.items()))),
    "TemplateProcessing with several ids": lambda: post(lambda i: processors.TemplateProcessing(single="<b> $A", pair="$A $B", special_tokens=[{"id": "<b>", "ids": [i["<s>"], i["</s>"]], "tokens": ["<s>", "</s>"]}])),
    "RobertaProcessing": lambda: post(lambda i: processors.RobertaProcessing(("</s>", i["</s>"]), ("<s>", i["<s>"]))),
    "BertProcessing": lambda: post(lambda i: processors.BertProcessing(("</s>", i["</s>"]), ("<s>", i["<s>"]))),
    "ByteLevel post-processor": lambda: post(lambda i: processors.ByteLevel()),
    "Sequence of post-processors": lambda: post(lambda i: processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(single="<s> $A", pair="$A $B", special_tokens=list(i.items()))])),
    "decoders of SentencePiece": lambda: (lambda t: (setattr(t, "decoder", decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])), t)[1])(changed(bpe(norm=N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]), vocab=90, unk_token="<unk>"), lambda m: (m["model"]["vocab"].update({f"<0x{b:02X}>": 1000 + b for b in range(256)}), m["model"].update(byte_fallback=True)))),
    "Metaspace decoder": lambda: (lambda t: (setattr(t, "decoder", decoders.Metaspace()), t)[1])(unigram(pre=P.Metaspace())),
    "Metaspace decoder without a prefix": lambda: (lambda t: (setattr(t, "decoder", decoders.Metaspace(prepend_scheme="never")), t)[1])(unigram(pre=P.Metaspace(prepend_scheme="never"))),
    "WordPiece decoder": lambda: (lambda t: (setattr(t, "decoder", decoders.WordPiece()), t)[1])(words(models.WordPiece(WORD_VOCAB, unk_token="[UNK]"), P.BertPreTokenizer())),
    "BPEDecoder": lambda: (lambda t: (t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=300, show_progress=False, end_of_word_suffix="</w>")), setattr(t, "decoder", decoders.BPEDecoder()), t)[2])(words(models.BPE(end_of_word_suffix="</w>"), P.Whitespace())),
    "ByteLevel decoder with added tokens": lambda: with_added(byte_bpe(None), AddedToken("<mask>", special=True), AddedToken("é one")),
    "truncation and padding are for others": lambda: (lambda t: (t.enable_truncation(4), t.enable_padding(length=9), t)[2])(byte_bpe(None)),
}

golden = []
for name, make in CASES.items():
    tokenizer = make()
    made = json.loads(tokenizer.to_str())
    if name == "BPE with merges as texts":
        made["model"]["merges"] = [" ".join(pair) for pair in made["model"]["merges"]]
    # transformers sets both aside before it encodes.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append([text, ids, plain if plain != ids else None, tokenizer.decode(ids)])
    golden.append({"name": name, "tokenizer": made, "rows": rows})
# Texts that end within a character, bytes that are none, and ids that no token has.
extra = golden[[g["name"] for g in golden].index("decoders of SentencePiece")]
extra["decoded"] = [[ids, Tokenizer.from_str(json.dumps(extra["tokenizer"])).decode(ids)] for ids in ([1000 + 0xE2, 1000 + 0x82], [1000 + 0xEF, 1000 + 0xBB, 1000 + 0xBF], [1000 + 0xFF, 1, 1000 + 0x41], [9999, 1])]
level = golden[[g["name"] for g in golden].index("ByteLevel decoder with added tokens")]
made = Tokenizer.from_str(json.dumps(level["tokenizer"]))
ids = made.encode("é😀").ids
level["decoded"] = [[part, made.decode(part)] for part in (ids[:1], ids[1:], [ids[0], made.token_to_id("é one"), ids[-1]], [9999], [made.token_to_id("<mask>")])]
path = Path(__file__).parent / "tokenizer" / "table.json"
# Many share a model: each is written once.
shared = []
for case in golden:
    model = case["tokenizer"].pop("model")
    if model not in shared:
        shared.append(model)
    case["model"] = shared.index(model)


def lines(values):
    return ",\n".join(json.dumps(value, ensure_ascii=True, separators=(",", ":")) for value in values)


path.write_text(f'{{"tokenizers":"{tokenizers.__version__}","models":[\n{lines(shared)}\n],"cases":[\n{lines(golden)}\n]}}\n')
print(len(golden), len(shared), path.stat().st_size)
