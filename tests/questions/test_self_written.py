"""Questions by the model."""

from selfportrait.questions.self_written import SelfWritten
from selfportrait.types import Prompt, Question

PROMPTS = [Prompt("a", "a cup", "attribute1_color"), Prompt("b", "a hat"), Prompt("c", "a pan", "layout1")]


def test_prompts_come_back_with_their_questions(scripted) -> None:
    model = scripted(lambda conversation, seed: f"Questions: Is there {conversation[-1].text}? Is it {seed % 100}?")
    written = SelfWritten(model, 0)(PROMPTS)
    assert [prompt.questions[0] for prompt in written.prompts] == [
        Question("Is there a cup?"),
        Question("Is there a hat?"),
        Question("Is there a pan?"),
    ]
    assert [prompt.id for prompt in written.prompts] == ["a", "b", "c"]
    assert written.prompts == SelfWritten(model, 0, batch_size=2)(PROMPTS).prompts
    assert model.decoding == {"temperature": 1.2, "top_p": 0.5, "max_new_tokens": 256}


def test_a_prompt_without_questions_is_left_out_and_counted(scripted) -> None:
    model = scripted(lambda conversation, seed: "" if "hat" in conversation[-1].text else "Questions: Is a?")
    written = SelfWritten(model, 0)(PROMPTS)
    assert [prompt.id for prompt in written.prompts] == ["a", "c"]
    assert written.dropped == {"no label": 1}
