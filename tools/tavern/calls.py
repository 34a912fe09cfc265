"""Requests that a tool answers: the reply is a call as JSON when the tool is offered, and a plain refusal when not.

Arguments name things as the system prompt (or the tool's own list of values) names them, whatever language the player
speaks: a game looks them up there.
"""

import json

from trade import number_word
from turns import REFUSALS, TALKING, Turn, capital, dress, other_than, refusal_check
from words import DE, DOORS, EN, GOODS, NUMBERS

CALLS = "calls"

# Name, parameters (name, JSON type); "door" is an enumeration of this scene's doors.
SIGNATURES = {
    "give_item": [("item", "string"), ("count", "integer")],
    "set_price": [("item", "string"), ("price", "integer")],
    "open_door": [("door", "door")],
    "close_door": [("door", "door")],
    "start_quest": [("quest", "string")],
    "rent_room": [("nights", "integer")],
    "take_coins": [("amount", "integer")],
    "ring_bell": [],
    "light_fire": [],
}
NAMES = sorted(SIGNATURES)

REQUESTS = {
    "give_item": {
        "en": ["Give me {x}.", "I will take {x}.", "Hand me {x}, please.", "I want to buy {x}.", "{X}, please.", "Bring me {x}.",
               "I would like {x}.", "Sell me {x}."],
        "de": ["Gib mir {x}.", "Ich nehme {x}.", "Reich mir bitte {x}.", "Ich will {x} kaufen.", "{X}, bitte.", "Bring mir {x}.",
               "Ich möchte {x}.", "Verkauf mir {x}."],
    },
    "set_price": {
        "en": ["Set the price of {pl} to {p}.", "From now on {a} costs {p}.", "Sell {pl} for {p} {c}.", "Change the price of {a} to {p}.",
               "Let {a} cost {p} {c}."],
        "de": ["Setz den Preis für {pl} auf {p}.", "Ab jetzt kostet {a} {p}.", "Verkauf {pl} für {p} {c}.",
               "Ändere den Preis für {a_acc} auf {p}.", "Lass {a_acc} {p} {c} kosten."],
    },
    "open_door": {
        "en": ["Open the {x}.", "Open the door to the {x}, please.", "Let me into the {x}.", "Unlock the {x}.", "Can you open the {x}?"],
        "de": ["Öffne {x}.", "Mach bitte {x} auf.", "Lass mich in {x}.", "Schließ {x} auf.", "Kannst du {x} öffnen?"],
    },
    "close_door": {
        "en": ["Close the {x}.", "Close the door to the {x}, please.", "Lock the {x}.", "Shut the {x}.", "Can you close the {x}?"],
        "de": ["Schließ bitte {x}.", "Mach bitte {x} zu.", "Sperr {x} ab.", "Schließ {x} zu.", "Kannst du {x} schließen?"],
    },
    "start_quest": {
        "en": ["I accept the task.", "I will do it.", "I take the job.", "I am ready for the quest.", "Count me in for the quest.",
               "I will help you."],
        "de": ["Ich nehme den Auftrag an.", "Ich mache es.", "Ich übernehme die Aufgabe.", "Ich bin bereit für den Auftrag.",
               "Ich bin dabei beim Auftrag.", "Ich helfe dir."],
    },
    "rent_room": {
        "en": ["I need a room for {n}.", "Can I stay for {n}?", "A room for {n}, please.", "I want to sleep here for {n}.",
               "Do you have a bed for {n}?"],
        "de": ["Ich brauche ein Zimmer für {n}.", "Kann ich {n} bleiben?", "Ein Zimmer für {n}, bitte.",
               "Ich will hier {n} schlafen.", "Hast du ein Bett für {n}?"],
    },
    "take_coins": {
        "en": ["Here are {p} {c}.", "Take these {p} {c}.", "I pay you {p} {c}.", "I give you {p} {c}.", "Here, {p} {c} for you."],
        "de": ["Hier sind {p} {c}.", "Nimm diese {p} {c}.", "Ich zahle dir {p} {c}.", "Ich gebe dir {p} {c}.", "Da, {p} {c} für dich."],
    },
    "ring_bell": {
        "en": ["Ring the bell!", "Sound the bell.", "Can you ring the bell?", "Raise the alarm!"],
        "de": ["Läute die Glocke!", "Schlag die Glocke.", "Kannst du die Glocke läuten?", "Schlag Alarm!"],
    },
    "light_fire": {
        "en": ["Light the fire.", "I am cold, light a fire.", "Make a fire, please.", "Can you light the fire?"],
        "de": ["Mach das Feuer an.", "Mir ist kalt, mach Feuer.", "Mach bitte ein Feuer.", "Kannst du das Feuer anzünden?"],
    },
}

# What is said when the game reports that the call was carried out.
DONE = {
    "give_item": {"en": "Here you are: {x}.", "de": "Bitte sehr: {x}."},
    "set_price": {"en": "The new price is {p}.", "de": "Der neue Preis ist {p}."},
    "open_door": {"en": "The door is open.", "de": "Die Tür ist offen."},
    "close_door": {"en": "The door is closed.", "de": "Die Tür ist zu."},
    "start_quest": {"en": "Good luck!", "de": "Viel Glück!"},
    "rent_room": {"en": "Your room is ready.", "de": "Dein Zimmer ist bereit."},
    "take_coins": {"en": "Thank you, that is {p} {c}.", "de": "Danke, das sind {p} {c}."},
    "ring_bell": {"en": "The bell is ringing.", "de": "Die Glocke läutet."},
    "light_fire": {"en": "The fire is burning.", "de": "Das Feuer brennt."},
}
CANNOT = {"en": ["I cannot do that.", "Sorry, I cannot do that for you."],
          "de": ["Das kann ich nicht.", "Das kann ich leider nicht für dich tun."]}
NOT_THERE = {"en": "{n} - I do not have that.", "de": "{n} - das habe ich nicht."}
NO_QUEST = {"en": "I have no task for you.", "de": "Ich habe keinen Auftrag für dich."}
AGREED = {"en": "Agreed: {x}.", "de": "Abgemacht: {x}."}


class ToolSet:
    """The tools that a scene offers, and the doors that open_door and close_door know."""

    def __init__(self, rng, scene, n=None):
        self.names = sorted(rng.sample(NAMES, rng.between(1, 4) if n is None else n), key=NAMES.index)
        if scene.goods and rng.chance(0.5) and "give_item" not in self.names:
            self.names[0] = "give_item"
        if scene.quest and rng.chance(0.4) and "start_quest" not in self.names:
            self.names[-1] = "start_quest"
        self.names = sorted(set(self.names))
        self.names = rng.sample(self.names, len(self.names))
        self.doors = rng.sample(DOORS, rng.between(2, 3))
        self.lang = scene.lang

    def door_names(self):
        return [door[0] if self.lang == EN else door[2] for door in self.doors]

    def schema(self):
        out = []
        for name in self.names:
            properties = {}
            for parameter, kind in SIGNATURES[name]:
                properties[parameter] = ({"type": "string", "enum": self.door_names()} if kind == "door" else {"type": kind})
            out.append({"type": "function", "function": {"name": name, "parameters": {
                "type": "object", "properties": properties, "required": list(properties)}}})
        return out


def call_text(name, arguments):
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def door_in_german(door, case):
    return {"m": {"acc": "den ", "nom": "der "}, "f": {"acc": "die ", "nom": "die "}, "n": {"acc": "das ", "nom": "das "}}[
        door[1]][case] + door[2]


def _call(rng, scene, lang, name, slots, arguments, key, done_slots, offered):
    question = rng.pick(REQUESTS[name][lang])
    user, dressing = dress(rng, scene, lang, question.format(**slots), rng.chance(0.4))
    patterns = [(lang, dressing, question)]
    if not offered:
        reply = CANNOT[lang][0 if rng.chance(0.65) else 1]
        patterns.append((lang, "answer", reply))
        return Turn(REFUSALS, lang, user, reply, "not|" + key, refusal_check(lang, ["{"]), tuple(patterns), intent=name)
    closing = DONE[name][lang].format(**done_slots)
    patterns.append((lang, "answer", name))
    return Turn(CALLS, lang, user, call_text(name, arguments), key, {"call": {"name": name, "arguments": arguments}},
                tuple(patterns), result="ok", closing=closing, intent=name)


def _plain(rng, scene, lang, name, slots, reply, skill, key, check):
    question = rng.pick(REQUESTS[name][lang])
    user, dressing = dress(rng, scene, lang, question.format(**slots), rng.chance(0.4))
    return Turn(skill, lang, user, reply, key, check, ((lang, dressing, question), (lang, "answer", name + " plain")), intent=name)


def _price_slots(noun, lang, price, coin):
    if lang == EN:
        return {"pl": noun.en_pl, "a": noun.a_en(), "a_acc": noun.a_en(), "p": price, "c": coin}
    return {"pl": noun.de_pl, "a": noun.a(), "a_acc": noun.a("acc"), "p": price, "c": coin}


def call_turn(rng, scene, lang, name=None):
    """A request, answered by a call, or by words when the tool, the good, the door or the quest is not there."""
    tools = scene.tools
    offered_names = tools.names if tools else []
    if name is None:
        if offered_names and rng.chance(0.75):
            name = rng.pick(offered_names)
        else:
            name = rng.pick(NAMES)
    offered = name in offered_names
    coin = scene.coin_name(lang)
    if name == "give_item":
        return _give(rng, scene, lang, offered)
    if name == "set_price":
        if not scene.goods:
            return None
        price = rng.between(1, 30)
        missing = offered and rng.chance(0.12)
        noun = other_than(rng, GOODS, [good.noun for good in scene.goods]) if missing else rng.pick(scene.goods).noun
        slots = _price_slots(noun, lang, price, coin)
        key = "call|set|%s|%d" % (noun.en, price)
        if missing:
            return _plain(rng, scene, lang, name, slots, CANNOT[lang][0], REFUSALS, "not|" + key, refusal_check(lang, ["{"]))
        return _call(rng, scene, lang, name, slots, {"item": noun.name(scene.lang), "price": price}, key, slots, offered)
    if name in ("open_door", "close_door"):
        missing = offered and rng.chance(0.2)
        door = rng.pick([door for door in DOORS if door not in tools.doors] if missing else tools.doors if tools else DOORS)
        slots = {"x": door[0] if lang == EN else door_in_german(door, "acc")}
        key = "call|%s|%s|%s" % (name, door[0], scene.name)
        if missing:
            return _plain(rng, scene, lang, name, slots, CANNOT[lang][0], REFUSALS, "not|" + key, refusal_check(lang, ["{"]))
        return _call(rng, scene, lang, name, slots, {"door": door[0] if scene.lang == EN else door[2]}, key, slots, offered)
    if name == "start_quest":
        if not scene.quest:
            return _plain(rng, scene, lang, name, {}, NO_QUEST[lang], REFUSALS, "unknown|task|" + scene.name,
                          refusal_check(lang, ["{"]))
        if not offered:
            text = scene.quest.text(lang)
            return _plain(rng, scene, lang, name, {}, AGREED[lang].format(x=text), TALKING, scene.quest.key(),
                          {"contains_all": [text]})
        return _call(rng, scene, lang, name, {}, {"quest": scene.quest.text(scene.lang)}, scene.quest.key(), {}, True)
    if name == "rent_room":
        n = rng.between(1, 9)
        if lang == EN:
            number = (("one" if n == 1 else NUMBERS[n - 1][0]) if rng.chance(0.4) else str(n))
            nights = number + (" night" if n == 1 else " nights")
        else:
            number = ("eine" if n == 1 else NUMBERS[n - 1][1]) if rng.chance(0.4) else str(n)
            nights = number + (" Nacht" if n == 1 else " Nächte")
        return _call(rng, scene, lang, name, {"n": nights}, {"nights": n}, "call|rent|%d|%s" % (n, scene.name), {}, offered)
    if name == "take_coins":
        amount = rng.between(2, 99)
        slots = {"p": amount, "c": coin}
        return _call(rng, scene, lang, name, slots, {"amount": amount}, "call|coins|%d|%s" % (amount, coin), slots, offered)
    return _call(rng, scene, lang, name, {}, {}, "call|%s|%s" % (name, scene.name), {}, offered)


def _give(rng, scene, lang, offered):
    if not scene.goods or not offered:
        return None  # without the tool an order is a sum: trade.sum_turn
    missing = rng.chance(0.15)
    noun = other_than(rng, GOODS, [good.noun for good in scene.goods]) if missing else rng.pick(scene.goods).noun
    n = rng.between(1, 9)
    x = number_word(n, noun, lang, rng.chance(0.4), "acc") + " " + noun.count(n, lang)
    slots = {"x": x, "X": capital(x)}
    key = "call|give|%s|%d" % (noun.en, n)
    counted = "%d %s" % (n, noun.count(n, lang))
    if missing:
        return _plain(rng, scene, lang, "give_item", slots, NOT_THERE[lang].format(n=counted), REFUSALS, "not|" + key,
                      refusal_check(lang, ["{"]))
    return _call(rng, scene, lang, "give_item", slots, {"item": noun.name(scene.lang), "count": n}, key, {"x": counted}, True)
