"""One exchange: what the player says, what the character answers, and how a test judges the answer."""

from phrases import (BEFORE, BEHIND, INTRODUCTIONS, OPENERS, REFUSAL_MARKERS, SMALL_TALK, TALK)
from scene import made_up_word, random_name
from words import BEINGS, DE, EN, FOREIGN, GOODS, JOBS, OBJECTS, PLACES

FACTS, REFUSALS, TALKING = "facts", "refusals", "talk"


class Turn:
    """key: the combination that decides between training and tests, None where there is none to decide by.
    check: None when every answer will do. patterns: names of the sentence patterns used, for the statistics."""

    __slots__ = ("skill", "lang", "user", "reply", "key", "check", "patterns", "result", "closing", "intent")

    def __init__(self, skill, lang, user, reply, key=None, check=None, patterns=(), result=None, closing=None, intent=""):
        self.skill, self.lang, self.user, self.reply, self.key, self.check = skill, lang, user, reply, key, check
        self.patterns, self.result, self.closing, self.intent = patterns, result, closing, intent


def capital(text):
    return text[0].upper() + text[1:]


def refusal_check(lang, none=()):
    return {"contains_any": REFUSAL_MARKERS[lang], "contains_none": list(none), "language": lang}


def lower_first(text, lang):
    """The sentence behind "Tell me, ": a small letter, except for I and for words that keep a capital."""
    first = text.split(" ", 1)[0].rstrip(",.!?")
    if first == "I" or (lang == DE and first in KEEP_CAPITAL) or not text[0].isupper():
        return text
    return text[0].lower() + text[1:]


KEEP_CAPITAL = {"Guten", "Python"}


def dress(rng, scene, lang, question, plain=False):
    """A question with what people put around it. Returns: text, name of the dressing."""
    x = rng.random()
    if plain or x < 0.5:
        return question, ""
    if x < 0.78:
        before = rng.pick(BEFORE[lang])
        rest = question if before[-2] in ".!:" else lower_first(question, lang)
        return before.format(npc=scene.name) + rest, before
    if x < 0.9:
        behind = rng.pick(BEHIND[lang])
        return question + behind, behind
    text = lower_first(question, lang)
    return (text[:-1] if text[-1] in "?.!" else text), "sloppy"


def finish(rng, scene, lang, intent, known, slots, skill, key, check, plain=False):
    """The turn of an intent: picks question and answer and fills them."""
    table = TALK[intent][lang]
    question = rng.pick(table["q"])
    answers = table["known" if known else "unknown"]
    answer = answers[0] if len(answers) == 1 or rng.chance(0.65) else rng.pick(answers[1:])
    user, dressing = dress(rng, scene, lang, question.format(**slots), plain)
    return Turn(skill, lang, user, answer.format(**slots), key, check,
                ((lang, dressing, question), (lang, "answer", answer)), intent=intent)


def noun_slots(noun, lang):
    if lang == EN:
        a, the = noun.a_en(), "the " + noun.en
        return {"a": a, "a_acc": a, "A": capital(a), "the": the, "the_acc": the, "the_dat": the, "The": capital(the),
                "pl": noun.en_pl, "Good": capital(noun.en)}
    return {"a": noun.a(), "a_acc": noun.a("acc"), "A": capital(noun.a()), "the": noun.the(), "the_acc": noun.the("acc"),
            "the_dat": noun.the("dat"), "The": capital(noun.the()), "pl": noun.de_pl, "Good": noun.de}


def other_than(rng, items, taken):
    while True:
        item = rng.pick(items)
        if not any(item is other for other in taken):
            return item


def good_turn(rng, scene, lang, known):
    intent = "price" if rng.chance(0.6) else "have"
    if known:
        good = rng.pick(scene.goods)
        slots = noun_slots(good.noun, lang)
        slots.update(p=good.price, c=scene.coin_name(lang))
        check = {"number": good.price, "contains_all": [scene.coin_name(lang)], "language": lang}
        return finish(rng, scene, lang, intent, True, slots, FACTS, good.key(), check)
    noun = other_than(rng, GOODS, [good.noun for good in scene.goods])
    return finish(rng, scene, lang, intent, False, noun_slots(noun, lang), REFUSALS,
                  "unknown|%s|%s" % (noun.en, scene.name), refusal_check(lang, [" %s." % scene.coin_name(lang)]))


def list_turn(rng, scene, lang, known):
    if not known:
        return finish(rng, scene, lang, "list", False, {}, REFUSALS, "unknown|goods|" + scene.name, refusal_check(lang))
    goods = ["%s %d" % (good.noun.name(lang), good.price) for good in scene.goods]
    text = ", ".join(goods)
    return finish(rng, scene, lang, "list", True, {"x": text, "c": scene.coin_name(lang)}, FACTS, scene.goods[0].key(),
                  {"contains_all": [text + " " + scene.coin_name(lang)]})


def way_turn(rng, scene, lang, known):
    if known:
        way = rng.pick(scene.ways)
        place, key = way.target, way.key()
    else:
        place = other_than(rng, PLACES, [way.target for way in scene.ways])
        key = "unknown|%s|%s" % (place.en, scene.name)
    slots = {"to": place.to(lang), "To": capital(place.to(lang)), "the": place.the_in(lang), "the_acc": place.the_in(lang, "acc")}
    if not known:
        none = ["Go left", "Go right", "straight"] if lang == EN else ["Geh links", "Geh rechts", "geradeaus"]
        return finish(rng, scene, lang, "way", False, slots, REFUSALS, key, refusal_check(lang, none))
    slots["x"] = way.text(lang)
    return finish(rng, scene, lang, "way", True, slots, FACTS, key, {"contains_all": [way.text(lang) + "."]})


def rumour_turn(rng, scene, lang, known):
    if not known:
        return finish(rng, scene, lang, "rumour", False, {}, REFUSALS, "unknown|rumour|" + scene.name, refusal_check(lang))
    text = scene.rumour.text(lang)
    return finish(rng, scene, lang, "rumour", True, {"x": text}, FACTS, scene.rumour.key(), {"contains_all": [text]})


def being_turn(rng, scene, lang, known):
    if known:
        slots = noun_slots(scene.rumour.who, lang)
        slots["x"] = text = scene.rumour.text(lang)
        return finish(rng, scene, lang, "being", True, slots, FACTS, scene.rumour.key(), {"contains_all": [text]})
    who = other_than(rng, BEINGS, [scene.rumour.who] if scene.rumour else [])
    none = ["They say"] if lang == EN else ["Man sagt"]
    return finish(rng, scene, lang, "being", False, noun_slots(who, lang), REFUSALS, "unknown|%s|%s" % (who.en, scene.name),
                  refusal_check(lang, none))


def quest_turn(rng, scene, lang, known):
    reward = rng.chance(0.3)
    if not known:
        return finish(rng, scene, lang, "reward" if reward else "quest", False, {}, REFUSALS, "unknown|quest|" + scene.name,
                      refusal_check(lang, [scene.coin_name(lang)]))
    quest = scene.quest
    slots = {"x": quest.text(lang), "p": quest.reward, "c": scene.coin_name(lang)}
    if reward:
        return finish(rng, scene, lang, "reward", True, slots, FACTS, quest.reward_key(),
                      {"number": quest.reward, "contains_all": [slots["c"]]})
    return finish(rng, scene, lang, "quest", True, slots, FACTS, quest.key(),
                  {"number": quest.reward, "contains_all": [slots["x"], slots["c"]]})


def person_turn(rng, scene, lang, known):
    intent = "who" if rng.chance(0.5) else "where"
    if known:
        person = rng.pick(scene.people)
        y = person.job.the(lang, person.gender) if intent == "who" else person.place.at(lang)
        key = person.key() if intent == "who" else person.where_key()
        return finish(rng, scene, lang, intent, True, {"x": person.name, "y": y}, FACTS, key, {"contains_all": [y]})
    taken = [person.name for person in scene.people] + [scene.name]
    name = random_name(rng)[0]
    while name in taken:
        name = random_name(rng)[0]
    none = ["You find"] if lang == EN else ["Du findest", "Das ist"]
    return finish(rng, scene, lang, intent, False, {"x": name}, REFUSALS, "unknown|%s|%s" % (name, scene.name),
                  refusal_check(lang, none))


def job_of_turn(rng, scene, lang, known):
    if known:
        person = rng.pick(scene.people)
        job, gender = person.job, person.gender
    else:
        job = other_than(rng, JOBS, [person.job for person in scene.people] + [scene.job])
        gender = "f" if rng.chance(0.5) else "m"
    x = job.the(lang, gender)
    accusative = "den " + x[4:] if lang == DE and gender == "m" else x
    if accusative == "den Bauer":
        accusative = "den Bauern"
    slots = {"x": x, "X": capital(x), "x_acc": accusative}
    if not known:
        none = ["That is"] if lang == EN else ["Das ist"]
        return finish(rng, scene, lang, "job_of", False, slots, REFUSALS, "unknown|%s|%s" % (job.en, scene.name),
                      refusal_check(lang, none))
    slots.update(name=person.name, y=person.place.at(lang))
    return finish(rng, scene, lang, "job_of", True, slots, FACTS, person.key(),
                  {"contains_all": [person.name, person.place.at(lang)]})


def knows_turn(rng, scene, lang, known):
    knowing = [person for person in scene.people if person.knows]
    if known:
        person = rng.pick(knowing)
        slots = noun_slots(person.knows, lang)
        slots["x"] = person.name
        return finish(rng, scene, lang, "knows", True, slots, FACTS, person.knows_key(),
                      {"contains_all": [person.name]})
    taken = [person.knows for person in knowing] + ([scene.quest.thing] if scene.quest else [])
    thing = other_than(rng, OBJECTS, taken)
    none = ["? Ask"] if lang == EN else ["? Frag"]
    return finish(rng, scene, lang, "knows", False, noun_slots(thing, lang), REFUSALS, "unknown|%s|%s" % (thing.en, scene.name),
                  refusal_check(lang, none))


def self_turn(rng, scene, lang):
    intent = rng.weighted([("name", 4), ("job", 3), ("town", 3)])
    job = scene.job.name(lang, scene.gender)
    key = "self|%s|%s" % (scene.name, scene.town)
    if intent == "name":
        slots = {"x": scene.name, "y": scene.job.the(lang, scene.gender)}
        return finish(rng, scene, lang, intent, True, slots, FACTS, key, {"contains_all": [scene.name]})
    if intent == "job":
        return finish(rng, scene, lang, intent, True, {"x": job, "y": scene.job.the(lang, scene.gender), "town": scene.town},
                      FACTS, key, {"contains_all": [job]})
    return finish(rng, scene, lang, intent, True, {"x": scene.town}, FACTS, key, {"contains_all": [scene.town]})


def tavern_turn(rng, scene, lang, known):
    if not known:
        return finish(rng, scene, lang, "tavern", False, {}, REFUSALS, "unknown|tavern|" + scene.name, refusal_check(lang))
    slots = {"x": scene.tavern.the(lang), "at": scene.tavern.at(lang)}
    return finish(rng, scene, lang, "tavern", True, slots, FACTS, "tavern|%s|%s" % (slots["x"], scene.name),
                  {"contains_any": [scene.tavern.bare(lang), scene.tavern.at(lang).split(" ", 1 if lang == EN else 2)[-1]]})


def mood_turn(rng, scene, lang):
    if scene.mood:
        mood = scene.mood[0 if lang == EN else 1]
        return finish(rng, scene, lang, "mood", True, {"x": mood}, FACTS, "mood|%s|%s" % (scene.name, scene.mood[0]),
                      {"contains_all": [mood]})
    answers = {EN: "I am well, thank you.", DE: "Mir geht es gut, danke."}
    turn = finish(rng, scene, lang, "mood", True, {"x": ""}, TALKING, None, None)
    turn.reply = answers[lang]
    return turn


def personal_turn(rng, scene, lang, known):
    i = 0 if lang == EN else 1
    values = {"age": scene.age, "origin": scene.origin, "likes": scene.likes and scene.likes[i],
              "fears": scene.fears and scene.fears[i]}
    intents = [intent for intent in sorted(values) if bool(values[intent]) == known]
    if not intents:
        return None
    intent = rng.pick(intents)
    value = values[intent]
    if not known:
        none = ["I come", "I like", "I fear", "years"] if lang == EN else ["Ich komme", "Ich mag", "Ich fürchte", "Jahre"]
        return finish(rng, scene, lang, intent, False, {}, REFUSALS, "unknown|%s|%s" % (intent, scene.name),
                      refusal_check(lang, none))
    check = {"number": value} if intent == "age" else {"contains_all": [value]}
    english = {"likes": scene.likes, "fears": scene.fears}.get(intent)
    key = "%s|%s|%s" % (intent, scene.name, english[0] if english else value)
    return finish(rng, scene, lang, intent, True, {"x": value}, FACTS, key, check)


def foreign_turn(rng, scene, lang):
    if rng.chance(0.45):
        word = made_up_word(rng)
        if lang == DE or rng.chance(0.3):
            word = capital(word)
        return finish(rng, scene, lang, "made_up", False, {"x": word, "X": capital(word)}, REFUSALS,
                      "unknown|%s|%s" % (word, scene.name), refusal_check(lang, [scene.coin_name(lang)]))
    en, de = rng.pick(FOREIGN)
    x = en if lang == EN else de
    return finish(rng, scene, lang, "foreign", False, {"x": x, "X": capital(x)}, REFUSALS, "unknown|%s|%s" % (en, scene.name),
                  refusal_check(lang))


def introduction_turn(rng, scene, lang, name):
    questions, answers = INTRODUCTIONS[lang]
    question = rng.pick(questions)
    answer = answers[0] if rng.chance(0.65) else answers[1]
    user, dressing = dress(rng, scene, lang, question.format(x=name))
    return Turn(TALKING, lang, user, answer.format(x=name), None, {"contains_all": [name]},
                ((lang, dressing, question), (lang, "answer", answer)), intent="introduction")


def player_name_turn(rng, scene, lang, name):
    if name is None:
        return finish(rng, scene, lang, "player_name", False, {}, REFUSALS, "unknown|player|" + scene.name, refusal_check(lang))
    return finish(rng, scene, lang, "player_name", True, {"x": name}, FACTS, "player|%s|%s" % (name, scene.name),
                  {"contains_all": [name]})


def small_talk_turn(rng, scene, lang, intent):
    questions, answers = SMALL_TALK[intent][lang]
    question = rng.pick(questions)
    answer = answers[0] if rng.chance(0.65) else answers[1]
    plain = intent in ("greet", "bye", "thanks") or rng.chance(0.5)
    user, dressing = dress(rng, scene, lang, question, plain)
    return Turn(TALKING, lang, user, answer, None, {"language": lang}, ((lang, dressing, question), (lang, "answer", answer)),
                intent=intent)


def opener(rng, scene, lang):
    """What a mood lets an answer begin with."""
    openers = OPENERS[scene.mood[0]][lang]
    return openers[0] if rng.chance(0.65) else openers[1]
