"""Tokeniser: what comes back is what went in, special ids, sizes, and what cannot be trained."""

import functools
import unicodedata

import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tfx.types import standard_artifacts

from components import rows, tokenizer
from components.settings import from_json, to_json
from components.tokenizer import Config, Pieces, TokenizerError, Tokenizers
from components.tokenizer_component import Executor, Tokenizer
from models.contract import END, PAD, START, UNK

COUNTS = {"fovea": 7, "F": 11, "OW1": 5, "V": 5, "ʃɛlf": 3, "naïve": 2, "ﬁ①": 2, "日本語": 1}
KINDS = ("char", "word", "bpe", "unigram")


@functools.cache
def trained(kind):
    """One model of each kind: no fixture, whose bytes a failing property test would print."""
    return tokenizer.train(COUNTS, Pieces(kind, 331))


def pieces(model, text, add_end=False):
    return Tokenizers(model, model).source(add_end).tokenize([text]).to_list()[0]


def there_and_back(model, text):
    in_graph = Tokenizers(model, model).target()
    return in_graph.detokenize(in_graph.tokenize([text])).numpy()[0].decode()


def texts(word):
    """Words with single spaces between them, NFC."""
    joined = st.lists(word, min_size=1).map(" ".join)
    return joined.map(lambda text: unicodedata.normalize("NFC", text))


KNOWN_CHARACTERS = texts(st.text(sorted(set("".join(COUNTS))), min_size=1))
KNOWN_WORDS = texts(st.sampled_from(sorted(COUNTS)))
ANY_WORDS = texts(st.text(st.characters(exclude_categories=["Cs", "Cc", "Zs"], exclude_characters="▁"), min_size=1))


@settings(deadline=None)  # the first call loads TensorFlow Text
@given(KNOWN_CHARACTERS)
def test_char_gives_back_known_characters(text):
    assert there_and_back(trained("char"), text) == text
    assert len(pieces(trained("char"), text)) == len(text)


@settings(deadline=None)  # the first call loads TensorFlow Text
@given(KNOWN_WORDS)
def test_word_gives_back_known_words(text):
    assert there_and_back(trained("word"), text) == text
    assert len(pieces(trained("word"), text)) == len(text.split(" "))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@settings(deadline=None)  # the first call loads TensorFlow Text
@given(text=ANY_WORDS)
def test_bytes_give_back_whatever_was_never_seen(kind, text):
    ids = pieces(trained(kind), text)
    assert there_and_back(trained(kind), text) == text
    assert not {PAD, UNK, START, END} & set(ids)


HANGUL = {"가령": 2, "각": 3, "é": 1, "ậ": 1, "<kor>": 5, "<kord>": 1}


@functools.cache
def taken_apart():
    """A model of the letters that characters are made of, with a tag."""
    return tokenizer.train(HANGUL, Pieces("char", 331, "nfd", symbols=("<kor>",)))


def spelled(model, text):
    """The pieces as a graph sees them."""
    in_graph = Tokenizers(model, model).source()
    return [piece.decode() for piece in in_graph.id_to_string(in_graph.tokenize([text]).values).numpy()]


def test_nfd_takes_characters_apart():
    assert spelled(taken_apart(), "가") == ["\u1100", "\u1161"]
    assert spelled(taken_apart(), "각ậ") == ["\u1100", "\u1161", "\u11a8", "a", "\u0323", "\u0302"]
    assert there_and_back(taken_apart(), "가령 é") == unicodedata.normalize("NFD", "가령 é")
    letters = {letter for word in HANGUL for letter in unicodedata.normalize("NFD", word)}
    assert tokenizer.vocabulary(taken_apart()) == 4 + 1 + len(letters) + 1  # the space, and the symbol
    assert len(taken_apart()) < 300_000


@settings(deadline=None, max_examples=29)
@given(st.text(st.characters(categories=["Lu", "Ll", "Lo"]), min_size=1))
def test_nfd_makes_composed_and_decomposed_texts_the_same_pieces(text):
    model = tokenizer.train(dict.fromkeys([text], 1), Pieces("char", 331, "nfd"))
    composed, decomposed = (unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    assert spelled(model, composed) == spelled(model, decomposed) == list(decomposed)


def test_a_symbol_is_one_piece():
    assert spelled(taken_apart(), "<kor> 가") == ["<kor>", "▁", "\u1100", "\u1161"]
    assert spelled(taken_apart(), "<kord>") == [*"<kord>"]
    assert there_and_back(taken_apart(), "<kor> é") == "<kor> e\u0301"


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_a_symbol_is_one_piece_among_others(kind):
    model = tokenizer.train({**COUNTS, "<kor>": 7}, Pieces(kind, 331, symbols=("<kor>", "<hun>")))
    assert spelled(model, "<hun> fovea").count("<hun>") == 1
    assert there_and_back(model, "<hun> fovea <kor>") == "<hun> fovea <kor>"


def test_identity_keeps_what_nfkc_changes():
    nfkc = tokenizer.train(COUNTS, Pieces("bpe", 331, normalization="nmt_nfkc"))
    assert there_and_back(nfkc, "ﬁ①") == "fi1"
    assert there_and_back(trained("bpe"), "ﬁ①") == "ﬁ①"


@pytest.mark.parametrize("kind", KINDS)
def test_end_follows_and_an_empty_text_is_only_end(kind):
    assert pieces(trained(kind), "fovea", add_end=True) == [*pieces(trained(kind), "fovea"), END]
    assert pieces(trained(kind), "", add_end=True) == [END]


@pytest.mark.parametrize("kind", ["char", "word"])
def test_what_char_and_word_do_not_know_is_unk(kind):
    assert set(pieces(trained(kind), "ж")) == {UNK}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_a_function_of_the_counts(kind):
    backwards = dict(reversed(COUNTS.items()))
    assert tokenizer.train(backwards, Pieces(kind, 331)) == trained(kind)


def test_sizes():
    assert tokenizer.vocabulary(trained("word")) == 4 + len(COUNTS)
    assert tokenizer.vocabulary(trained("char")) == 4 + 1 + len(set("".join(COUNTS)))  # and the space
    assert tokenizer.vocabulary(tokenizer.train(COUNTS, Pieces("word", 7))) == 7
    assert pieces(tokenizer.train(COUNTS, Pieces("word", 7)), "F ʃɛlf fovea") == [4, UNK, 5]


def test_a_word_with_a_no_break_space_is_one_word():
    assert rows.words("grand\u00a0café  noir\tfin\n") == ["grand\u00a0café", "noir", "fin"]


def test_nothing_is_logged(capfd):
    """SentencePiece writes to the standard error of the process, and TensorFlow Text once for every model it loads."""
    model = tokenizer.train({**COUNTS, "unheard": 1}, Pieces("char", 331))
    assert tf.size(Tokenizers(model, model).source().tokenize(["fovea"])) == 5
    assert "LOG(" not in capfd.readouterr().err


def test_the_two_sides_are_loaded_from_their_files(tmp_path):
    for side, kind in (("source", "char"), ("target", "word")):
        (tmp_path / f"{side}.model").write_bytes(trained(kind))
    loaded = tokenizer.load(str(tmp_path))
    assert (loaded.source_model, loaded.target_model) == (trained("char"), trained("word"))
    assert loaded.source_size == tokenizer.vocabulary(trained("char"))
    assert loaded.target_size == tokenizer.vocabulary(trained("word"))
    assert loaded.target().detokenize(loaded.target().tokenize(["F OW1 V"])).numpy() == [b"F OW1 V"]


def test_a_vocabulary_that_is_too_small_says_what_is_needed():
    characters = len(set("".join(COUNTS))) + 1
    with pytest.raises(TokenizerError, match=rf"vocabulary_size is 251, but .* need {4 + 256 + characters} at least"):
        tokenizer.train(COUNTS, Pieces("bpe", 251))


def test_a_word_of_any_length_counts():
    model = tokenizer.train({"漢" + "字" * 2000: 1, "a b": 3}, tokenizer.Pieces("char", 97))
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert pieces.decode(pieces.encode("漢字 a")) == "漢字 a"


def test_nothing_to_train_on():
    with pytest.raises(TokenizerError, match="no text to train on"):
        tokenizer.train({}, Pieces())


def test_sides():
    assert Config().sides() == {"source": Pieces(), "target": Pieces()}
    assert Config(target=Pieces("word")).sides() == {"source": Pieces(), "target": Pieces("word")}
    assert Config(shared=Pieces("bpe")).sides() == {"shared": Pieces("bpe")}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"shared": {}, "source": {}}, "shared excludes source and target"),
        ({"target": {"normalization": "nfd"}}, "nfd is for sources: no answer of decomposed letters equals"),
        ({"source": {"kind": "wrod"}}, "'char', 'word', 'bpe' or 'unigram'"),
        ({"source": {"vocabulary_size": 4}}, "greater than 4"),
        ({"source": {"character_coverage": 1.5}}, "less than or equal to 1"),
        ({"source": {"size": 7}}, "source.*size"),
        ({"source": {"kind": "word", "symbols": ["<kor>"]}}, "symbols: a word is one piece anyway, expected none with"),
        ({"source": {"symbols": ["a b"]}}, "symbols: 'a b', expected texts without spaces, none of <pad>, <unk>, <s>"),
        ({"source": {"symbols": ["</s>"]}}, "symbols: '</s>', expected texts without spaces"),
        ({"source": {"symbols": [""]}}, "symbols: '', expected texts without spaces"),
        ({"source": {"symbols": ["<a>", "<a>"]}}, "symbols: one is there twice: <a>, <a>"),
    ],
)
def test_a_wrong_configuration_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        from_json(Config, config)


def test_a_configuration_survives_json():
    config = Config(source=Pieces("char", 97), target=Pieces("word", 89, character_coverage=0.5))
    assert from_json(Config, to_json(config)) == config


def test_both_sides_of_one_saved_model_keep_their_own_pieces(tmp_path):
    """A loaded tokenizer's resource is found by its name: with one name for both, the target would get the source's."""

    class Saved(tf.Module):
        def __init__(self, tokenizers):
            super().__init__()
            self.source, self.target = tokenizers.source(), tokenizers.target()

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def ids(self, text):
            return {"source": self.source.tokenize(text).values, "target": self.target.tokenize(text).values}

    saved = Saved(Tokenizers(trained("char"), trained("word")))
    tf.saved_model.save(saved, str(tmp_path), signatures={"serving_default": saved.ids})
    ids = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](text=tf.constant(["F OW1"]))
    for side, kind in (("source", "char"), ("target", "word")):
        expected = sentencepiece.SentencePieceProcessor(model_proto=trained(kind)).encode("F OW1")
        assert ids[side].numpy().tolist() == expected


def train_on(folder, examples, config, recordings=0):
    """The executor of TokenizerTrainer on these rows."""
    split = folder / "examples" / "Split-train"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data.gz"), tf.io.TFRecordOptions("GZIP")) as writer:
        for source, *references in examples:
            row = rows.Row(source, tuple(references), "a.tsv", 1)
            writer.write(rows.to_example(row).SerializeToString())
    context = Executor.Context(beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(folder / "tmp"), unique_id="1")
    inputs, output = standard_artifacts.Examples(), Tokenizer()
    inputs.uri, output.uri = str(folder / "examples"), str(folder / "tokenizer")
    inputs.split_names = '["train"]'
    properties = {"config": to_json(config), "recordings": recordings}
    Executor(context).Do({"examples": [inputs]}, {"tokenizer": [output]}, properties)
    models = tokenizer.load(output.uri)
    for side, size in (("source", 0 if recordings else models.source_size), ("target", models.target_size)):
        assert output.get_int_custom_property(f"{side}_size") == size
    return models


def test_recordings_have_no_pieces(tmp_path):
    models = train_on(tmp_path, [("ann/a.wav", "tea time")], Config(target=Pieces("word", 97)), recordings=1)
    assert models.source_model == b"" and not (tmp_path / "tokenizer" / "source.model").exists()
    assert models.target_model == tokenizer.train({"tea": 1, "time": 1}, Pieces("word", 97))


def test_every_right_answer_is_counted(tmp_path):
    examples = [("tomato", "T AH M EY T OW", "T AH M AA T OW"), ("tea", "T IY")]
    words = Config(source=Pieces("word", 97), target=Pieces("word", 97))
    models = train_on(tmp_path, examples, words)
    assert models.source_model == tokenizer.train({"tomato": 1, "tea": 1}, Pieces("word", 97))
    counts = {"T": 5, "AH": 2, "M": 2, "OW": 2, "EY": 1, "AA": 1, "IY": 1}
    assert models.target_model == tokenizer.train(counts, Pieces("word", 97))


def test_shared_pieces_are_trained_on_both_sides(tmp_path):
    models = train_on(tmp_path, [("a b", "b c c")], Config(shared=Pieces("word", 97)))
    assert models.source_model == models.target_model
    assert models.source_model == tokenizer.train({"a": 1, "b": 2, "c": 2}, Pieces("word", 97))


def test_an_untrainable_side_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"^tokenizer\.target: vocabulary_size is 97, but"):
        train_on(tmp_path, [("tea", "thé")], Config(source=Pieces("char", 97), target=Pieces("bpe", 97)))
