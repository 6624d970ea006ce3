"""Policies whose values the library would take, or drop, without a word."""

import pytest

from data_generators.augmentation.policy_files import check_policy, read_policy
from utils.base.errors import UserError

FLIP = "{__class_fullname__: HorizontalFlip, p: 0.5}"
REFUSED = {
    f"{{__class_fullname__: Compose, p: '0.5', transforms: [{FLIP}]}}": "p of Compose is '0.5'",
    f"{{__class_fullname__: Compose, p: 5, transforms: [{FLIP}]}}": "p of Compose is 5",
    f"{{__class_fullname__: Compose, p: .nan, transforms: [{FLIP}]}}": "p of Compose is nan",
    f"{{__class_fullname__: OneOf, p: true, transforms: [{FLIP}]}}": "p of OneOf is True",
    "{__class_fullname__: HorizontalFlip, p: '0.5'}": "p of HorizontalFlip is '0.5'",
    "{__class_fullname__: HorizontalFlip, p: 0.5, bogus: 3}": "'bogus' are not valid",
    "{__class_fullname__: OneOf, transforms: [{__class_fullname__: HorizontalFlip, p: 0}]}": "all p in a OneOf are 0",
    "{__class_fullname__: Compose, transforms: []}": "has no transforms",
    "&a {__class_fullname__: Compose, transforms: [*a]}": "anchors and aliases",
    "{__class_fullname__: HorizontalFlip, p: 0.5, p: 1.0}": "duplicate key p",
    "[" * 30 + "]" * 30: "nested deeper",
    f"{{__class_fullname__: Compose, p: 1, transforms: [{', '.join([FLIP] * 20_000)}]}}": "too many|characters",
    "{__class_fullname__: Normalize, p: 1.0}": "Normalize makes values from -2",
    "{__class_fullname__: [1]}": "is not a policy",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text, tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(f"transform: {text}\n")
    with pytest.raises(UserError, match=REFUSED[text]):
        check_policy(read_policy(path), (64, 64, 3), path)


def test_a_policy_in_latin_1(tmp_path):
    (tmp_path / "policy.yaml").write_bytes("# Größe\n".encode("latin-1"))
    with pytest.raises(UserError, match="not text in UTF-8"):
        read_policy(tmp_path / "policy.yaml")
