"""Whole conversations: a scene, the exchanges in it, and the messages that come out."""

import functools

import calls
import trade
import translate
import turns
from phrases import SMALL_TALK
from scene import SECTIONS, Scene, random_name
from split import held_out
from words import DE, EN

# What a conversation may hold, beside the sections that its scene has.
SHORT = {}
TRADE = {"goods": 1.0, "mood": 0.3}
CALLS = {"goods": 0.85, "quest": 0.4, "mood": 0.3, "tavern": 0.3}
NEAR = {"tavern": 0.5, "mood": 0.4, "personal": 0.4, "goods": 0.75, "ways": 0.6, "rumour": 0.6, "quest": 0.35, "people": 0.75,
        "least_people": 2}
MAX_CHARACTERS = 1300  # about 450 tokens: the context holds 512


class Dialogue:
    """messages and tools as JSON has them; turns: what happened, for tests and statistics."""

    def __init__(self, kind, scene, system):
        self.kind, self.scene, self.system = kind, scene, system
        self.turns, self.tail = [], set()  # tail: indexes of calls that the game reports as done

    def messages(self):
        out = [{"role": "system", "content": self.system}]
        for index, turn in enumerate(self.turns):
            out.append({"role": "user", "content": turn.user})
            out.append({"role": "assistant", "content": turn.reply})
            if index in self.tail:
                out.append({"role": "tool", "content": turn.result})
                out.append({"role": "assistant", "content": turn.closing})
        return out

    def schema(self):
        return self.scene.tools.schema() if self.scene.tools else None

    def characters(self):
        return sum(len(message["content"]) for message in self.messages())


def _both(options, maker, has, known, unknown):
    """Adds what asks for a fact that stands there, if one does, and for one that does not."""
    if has:
        options.append((known, lambda rng, s, lang: maker(rng, s, lang, True)))
    options.append((unknown, lambda rng, s, lang: maker(rng, s, lang, False)))


def _mixed_options(scene, player):
    """(weight, maker) of everything that can be asked in this scene. A maker takes rng, scene, lang."""
    options = []
    both = functools.partial(_both, options)
    if scene.goods:
        options.append((2.4, lambda rng, s, lang: turns.good_turn(rng, s, lang, True)))
        options.append((2.0, trade.sum_turn))
        options.append((0.5, lambda rng, s, lang: turns.list_turn(rng, s, lang, True)))
    else:
        options.append((0.4, lambda rng, s, lang: turns.list_turn(rng, s, lang, False)))
    options.append((1.3, lambda rng, s, lang: turns.good_turn(rng, s, lang, False)))
    both(turns.way_turn, scene.ways, 1.7, 0.6)
    if scene.rumour:
        options.append((1.0, lambda rng, s, lang: turns.rumour_turn(rng, s, lang, True)))
    else:
        options.append((0.45, lambda rng, s, lang: turns.rumour_turn(rng, s, lang, False)))
    both(turns.being_turn, scene.rumour, 0.8, 0.4)
    if scene.quest:
        options.append((1.3, lambda rng, s, lang: turns.quest_turn(rng, s, lang, True)))
    else:
        options.append((0.45, lambda rng, s, lang: turns.quest_turn(rng, s, lang, False)))
    both(turns.person_turn, scene.people, 1.6, 0.5)
    both(turns.job_of_turn, scene.people, 0.8, 0.25)
    both(turns.knows_turn, any(person.knows for person in scene.people), 0.8, 0.3)
    options.append((1.0, turns.self_turn))
    options.append((0.5 if scene.tavern else 0.15, lambda rng, s, lang: turns.tavern_turn(rng, s, lang, bool(s.tavern))))
    options.append((0.5, turns.mood_turn))
    if scene.age or scene.origin or scene.likes or scene.fears:
        options.append((0.9, lambda rng, s, lang: turns.personal_turn(rng, s, lang, True)))
    options.append((0.3, lambda rng, s, lang: turns.personal_turn(rng, s, lang, False)))
    options.append((0.8, turns.foreign_turn))
    options.append((1.7, lambda rng, s, lang: turns.small_talk_turn(rng, s, lang, rng.pick(SMALL_TALK_INTENTS))))
    options.append((0.8 if player else 0.15, lambda rng, s, lang: turns.player_name_turn(rng, s, lang, player)))
    if not player:
        options.append((0.6, lambda rng, s, lang: turns.introduction_turn(rng, s, lang, _player_name(rng, s))))
    options.append((0.5, translate.translate_turn))
    options.append((3.0 if scene.tools else 0.35, calls.call_turn))
    return options


def _player_name(rng, scene):
    taken = [scene.name] + [person.name for person in scene.people]
    name = random_name(rng)[0]
    while name in taken:
        name = random_name(rng)[0]
    return name


SMALL_TALK_INTENTS = [intent for intent in sorted(SMALL_TALK) if intent not in ("greet", "bye")]


def _call_options(scene, player):
    options = [(4.0, calls.call_turn)]
    if scene.goods:
        options.append((0.8, lambda rng, s, lang: turns.good_turn(rng, s, lang, True)))
        options.append((0.4, lambda rng, s, lang: trade.sum_turn(rng, s, lang, False)))
    options.append((0.3, lambda rng, s, lang: turns.good_turn(rng, s, lang, False)))
    options.append((0.5, lambda rng, s, lang: turns.small_talk_turn(rng, s, lang, rng.pick(SMALL_TALK_INTENTS))))
    return options


def _trade_options(scene, player):
    return [(4.0, trade.sum_turn), (1.0, lambda rng, s, lang: turns.good_turn(rng, s, lang, True)),
            (0.6, lambda rng, s, lang: turns.good_turn(rng, s, lang, False))]


def _near_options(scene, player):
    """What is asked for stands there about as often as something that only looks like it."""
    options = []
    both = functools.partial(_both, options)
    both(turns.good_turn, scene.goods, 1.5, 1.5)
    both(turns.way_turn, scene.ways, 1.2, 0.9)
    both(turns.being_turn, scene.rumour, 1.2, 1.2)
    both(turns.person_turn, scene.people, 1.4, 0.9)
    both(turns.job_of_turn, scene.people, 2.2, 1.3)
    both(turns.knows_turn, any(person.knows for person in scene.people), 2.2, 1.6)
    both(turns.personal_turn, scene.age or scene.origin or scene.likes or scene.fears, 1.6, 1.2)
    # Of these a scene has one or none, so that only one of the two can be asked.
    options.append((0.6, lambda rng, s, lang: turns.tavern_turn(rng, s, lang, bool(s.tavern))))
    options.append((0.5, lambda rng, s, lang: turns.rumour_turn(rng, s, lang, bool(s.rumour))))
    options.append((0.3, lambda rng, s, lang: turns.quest_turn(rng, s, lang, bool(s.quest))))
    options.append((0.9 if player else 0.3, lambda rng, s, lang: turns.player_name_turn(rng, s, lang, player)))
    if not player:
        options.append((0.5, lambda rng, s, lang: turns.introduction_turn(rng, s, lang, _player_name(rng, s))))
    options.append((1.0, turns.foreign_turn))
    options.append((1.0, calls.call_turn))
    return options


def _translate_options(scene, player):
    return [(1.0, translate.translate_turn)]


def _drill_options(scene, player):
    return [(1.0, trade.drill_turn)]


KINDS = {
    # sections, options, how many turns: (turns, weight)
    "mixed": (SECTIONS, _mixed_options, [(1, 14), (2, 26), (3, 26), (4, 16), (6, 10), (8, 5), (10, 3)]),
    "trade": (TRADE, _trade_options, [(1, 2), (2, 4), (3, 4)]),
    "calls": (CALLS, _call_options, [(1, 3), (2, 4), (3, 3)]),
    "translate": (SHORT, _translate_options, [(1, 1), (2, 3), (3, 3), (4, 2), (6, 2)]),
    "drill": (SHORT, _drill_options, [(2, 1), (3, 2), (5, 1)]),
    "near": (NEAR, _near_options, [(1, 2), (2, 2), (3, 2), (4, 3), (6, 3), (8, 1)]),
}


def make_dialogue(rng, kind, test=False, n_turns=None, foreign=None, accept=None, call=None):
    """test: every exchange with a key is a held-out one. foreign: whether the system prompt speaks the other language.
    accept: what every exchange must fulfil besides. call: the one tool that is asked for."""
    sections, options_of, lengths = KINDS[kind]
    lang = EN if rng.chance(0.5) else DE
    foreign = rng.chance(0.25) if foreign is None else foreign
    scene = Scene(rng, test, sections, (DE if lang == EN else EN) if foreign else lang)
    if kind == "calls" or (kind in ("mixed", "near") and rng.chance(0.22)):
        scene.tools = calls.ToolSet(rng, scene)
    dialogue = Dialogue(kind, scene, scene.system_prompt(rng))
    n_turns = n_turns or rng.weighted(lengths)
    switches = kind == "mixed" and n_turns > 1 and rng.chance(0.12)
    player = None
    options = options_of(scene, player)
    if call:
        options = [(1.0, lambda rng, s, lang: calls.call_turn(rng, s, lang, call))]
    for index in range(n_turns):
        if switches and rng.chance(0.4):
            lang = DE if lang == EN else EN
        turn = None
        if accept:
            turn = _fitting_turn(rng, scene, lang, options, test, dialogue.turns, accept)
        elif kind == "mixed" and index == 0 and rng.chance(0.12):
            turn = turns.small_talk_turn(rng, scene, lang, "greet")
        elif kind == "mixed" and index and index == n_turns - 1 and rng.chance(0.2):
            turn = turns.small_talk_turn(rng, scene, lang, "bye")
        else:
            turn = _fitting_turn(rng, scene, lang, options, test, dialogue.turns)
        if turn is None:
            continue
        add_opener(rng, scene, turn, index)
        dialogue.turns.append(turn)
        if turn.result and rng.chance(0.5):
            dialogue.tail.add(len(dialogue.turns) - 1)
        if turn.intent == "introduction":
            player = turn.check["contains_all"][0]
            options = options_of(scene, player)
        if dialogue.characters() > MAX_CHARACTERS:
            dialogue.turns.pop()
            dialogue.tail.discard(len(dialogue.turns))
            break
    return dialogue if dialogue.turns else None


def _fitting_turn(rng, scene, lang, options, test, before, accept=None):
    """An exchange from the right side of the split that has not been had in this conversation."""
    said = [turn.user for turn in before]
    intents = [turn.intent for turn in before[-1:]]
    for _ in range(25 if not test or accept else 200):
        turn = rng.weighted([(maker, weight) for weight, maker in options])(rng, scene, lang)
        if turn is None or turn.user in said or (turn.key and held_out(turn.key) != test):
            continue
        if accept and not accept(turn):
            continue
        if turn.intent in intents and len(options) > 8 and rng.chance(0.6):
            continue
        return turn
    return None


def add_opener(rng, scene, turn, index):
    if scene.mood and turn.skill in (turns.FACTS, turns.REFUSALS, turns.TALKING, trade.SUMS) and turn.intent not in (
            "drill", "bye", "thanks", "greet"):
        if rng.chance(0.6 if index == 0 else 0.1):
            turn.reply = turns.opener(rng, scene, turn.lang) + " " + turn.reply
