"""Tokeniser: what comes back is what went in, special ids, sizes, and what cannot be trained."""

import unicodedata

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from components import tokenizer
from components.settings import from_json, to_json
from components.tokenizer import Config, Pieces, TokenizerError, Tokenizers
from models.contract import END, PAD, START, UNK

COUNTS = {"fovea": 7, "F": 11, "OW1": 5, "V": 5, "ʃɛlf": 3, "naïve": 2, "ﬁ①": 2, "日本語": 1}
KINDS = ("char", "word", "bpe", "unigram")


@pytest.fixture(scope="module")
def tokenizers():
    """One model of each kind."""
    return {kind: tokenizer.train(COUNTS, Pieces(kind, 331)) for kind in KINDS}


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


@given(KNOWN_CHARACTERS)
def test_char_gives_back_known_characters(tokenizers, text):
    assert there_and_back(tokenizers["char"], text) == text
    assert len(pieces(tokenizers["char"], text)) == len(text)


@given(KNOWN_WORDS)
def test_word_gives_back_known_words(tokenizers, text):
    assert there_and_back(tokenizers["word"], text) == text
    assert len(pieces(tokenizers["word"], text)) == len(text.split(" "))


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@given(text=ANY_WORDS)
def test_bytes_give_back_whatever_was_never_seen(tokenizers, kind, text):
    ids = pieces(tokenizers[kind], text)
    assert there_and_back(tokenizers[kind], text) == text
    assert not {PAD, UNK, START, END} & set(ids)


def test_identity_keeps_what_nfkc_changes(tokenizers):
    nfkc = tokenizer.train(COUNTS, Pieces("bpe", 331, normalization="nmt_nfkc"))
    assert there_and_back(nfkc, "ﬁ①") == "fi1"
    assert there_and_back(tokenizers["bpe"], "ﬁ①") == "ﬁ①"


@pytest.mark.parametrize("kind", KINDS)
def test_end_follows_and_an_empty_text_is_only_end(tokenizers, kind):
    assert pieces(tokenizers[kind], "fovea", add_end=True) == [*pieces(tokenizers[kind], "fovea"), END]
    assert pieces(tokenizers[kind], "", add_end=True) == [END]


@pytest.mark.parametrize("kind", ["char", "word"])
def test_what_char_and_word_do_not_know_is_unk(tokenizers, kind):
    assert set(pieces(tokenizers[kind], "ж")) == {UNK}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_a_function_of_the_counts(tokenizers, kind):
    backwards = dict(reversed(COUNTS.items()))
    assert tokenizer.train(backwards, Pieces(kind, 331)) == tokenizers[kind]


def test_sizes(tokenizers):
    assert tokenizer.vocabulary(tokenizers["word"]) == 4 + len(COUNTS)
    assert tokenizer.vocabulary(tokenizers["char"]) == 4 + 1 + len(set("".join(COUNTS)))  # and the space
    assert tokenizer.vocabulary(tokenizer.train(COUNTS, Pieces("word", 7))) == 7
    assert pieces(tokenizer.train(COUNTS, Pieces("word", 7)), "F ʃɛlf fovea") == [4, UNK, 5]


def test_a_word_with_a_no_break_space_is_one_word():
    assert tokenizer.words("grand\u00a0café  noir\tfin\n") == ["grand\u00a0café", "noir", "fin"]


def test_nothing_is_logged(capfd):
    """SentencePiece writes to the standard error of the process, and TensorFlow Text once for every model it loads."""
    model = tokenizer.train({**COUNTS, "unheard": 1}, Pieces("char", 331))
    assert tf.size(Tokenizers(model, model).source().tokenize(["fovea"])) == 5
    assert "LOG(" not in capfd.readouterr().err


def test_the_two_sides_are_loaded_from_their_files(tmp_path, tokenizers):
    for side, kind in (("source", "char"), ("target", "word")):
        (tmp_path / f"{side}.model").write_bytes(tokenizers[kind])
    loaded = tokenizer.load(str(tmp_path))
    assert (loaded.source_model, loaded.target_model) == (tokenizers["char"], tokenizers["word"])
    assert loaded.source_size == tokenizer.vocabulary(tokenizers["char"])
    assert loaded.target_size == tokenizer.vocabulary(tokenizers["word"])
    assert loaded.target().detokenize(loaded.target().tokenize(["F OW1 V"])).numpy() == [b"F OW1 V"]


def test_a_vocabulary_that_is_too_small_says_what_is_needed():
    characters = len(set("".join(COUNTS))) + 1
    with pytest.raises(TokenizerError, match=rf"vocabulary_size is 251, but .* need {4 + 256 + characters} at least"):
        tokenizer.train(COUNTS, Pieces("bpe", 251))


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
        ({"source": {"kind": "wrod"}}, "'char', 'word', 'bpe' or 'unigram'"),
        ({"source": {"vocabulary_size": 4}}, "greater than 4"),
        ({"source": {"character_coverage": 1.5}}, "less than or equal to 1"),
        ({"source": {"size": 7}}, "source.*size"),
    ],
)
def test_a_wrong_configuration_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        from_json(Config, config)


def test_a_configuration_survives_json():
    config = Config(source=Pieces("char", 97), target=Pieces("word", 89, character_coverage=0.5))
    assert from_json(Config, to_json(config)) == config
