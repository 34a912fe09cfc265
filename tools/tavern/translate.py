"""Sentences of the tavern in both languages, from aligned patterns: each has exactly one translation."""

from scene import random_name
from turns import Turn
from words import (ADJECTIVE_ENDINGS, ADJECTIVES, BEINGS, COINS, EN, DE, FEARS, FEMALE_NAMES, GOODS, JOBS, LIKES, MALE_NAMES,
                   MOODS, OBJECTS, PLACES, QUESTS, RUMOURS, TOWNS)

TRANSLATIONS = "translations"

# English, German. Slots: g good, h another good, o object, b being, p place, q another place, w name of a person,
# j that person's job, t town, n number, m smaller number above one, c coins, a adjective, k likes, f fears, d mood,
# r rumour, u quest. Of a noun: 0 bare, the/der/den/dem, a/ein/einen, kein, pl. With adjective: adj_nom, adj_acc.
SENTENCES = [line.split("|") for line in """
The {g} costs {n} {c}.|{g_Der} kostet {n} {c}.
What does the {g} cost?|Was kostet {g_der}?
I would like {m} {g_pl}, please.|Ich hätte gern {m} {g_plural}, bitte.
Do you have {g_a}?|Hast du {g_einen}?
I do not have {g_a}.|Ich habe {g_keinen}.
I am looking for {g_a}.|Ich suche {g_einen}.
He sold me {g_a} for {n} {c}.|Er hat mir {g_einen} für {n} {c} verkauft.
The {g} and the {h} cost {n} {c}.|{g_Der} und {h_der} kosten {n} {c}.
I need {g_a} and {h_a}.|Ich brauche {g_einen} und {h_einen}.
Give me the {g}.|Gib mir {g_den}.
The {g} is {a}.|{g_Der} ist {a_de}.
The {g} is not {a}.|{g_Der} ist nicht {a_de}.
I see {ag_a}.|Ich sehe {ag_acc}.
This is {ag_a}.|Das ist {ag_nom}.
She bought {m} {g_pl}.|Sie hat {m} {g_plural} gekauft.
We have no {g_pl}.|Wir haben keine {g_plural}.
There are {m} {g_pl} {p_at_en}.|{p_At_de} gibt es {m} {g_plural}.
Where is the {p}?|Wo ist {p_der}?
The {p} is closed today.|{p_Der} ist heute geschlossen.
The {p} is {a}.|{p_Der} ist {a_de}.
Tomorrow I am going to the {p}.|Morgen gehe ich {p_to}.
How do I get to the {p}?|Wie komme ich {p_to}?
Stay away from the {p}!|Bleib {p_away}!
Meet me {p_at_en}.|Triff mich {p_at_de}.
She lives {p_at_en}.|Sie wohnt {p_at_de}.
He works {p_at_en}.|Er arbeitet {p_at_de}.
The way to the {p} is long.|Der Weg {p_to} ist lang.
The {p} is not far.|{p_Der} ist nicht weit.
My name is {w}.|Mein Name ist {w}.
{w} is the {j}.|{w} ist {j_der}.
Good morning, {w}!|Guten Morgen, {w}!
Good night, {w}!|Gute Nacht, {w}!
Welcome to {t}!|Willkommen in {t}!
I come from {t}.|Ich komme aus {t}.
We travel to {t}.|Wir reisen nach {t}.
{w} lives in {t}.|{w} lebt in {t}.
Where is {w}?|Wo ist {w}?
You find {w} {p_at_en}.|Du findest {w} {p_at_de}.
I am {d} today.|Ich bin heute {d_de}.
{w} is {d}.|{w} ist {d_de}.
Why are you so {d}?|Warum bist du so {d_de}?
I like {k}.|Ich mag {k_de}.
{w} likes {k}.|{w} mag {k_de}.
I am not afraid of {f}.|Ich habe keine Angst vor {f_dat}.
Where is the {o}?|Wo ist {o_der}?
We are looking for the {o}.|Wir suchen {o_den}.
Who has the {o}?|Wer hat {o_den}?
I found the {o} {p_at_en}.|Ich habe {o_den} {p_at_de} gefunden.
The {o} is {p_at_en}.|{o_Der} ist {p_at_de}.
Bring me the {o}!|Bring mir {o_den}!
The {o} belongs to {w}.|{o_Der} gehört {w}.
I saw {b_a} {p_at_en}.|Ich habe {p_at_de} {b_einen} gesehen.
The {b} is dead.|{b_Der} ist tot.
Are you {b_a}?|Bist du {b_ein}?
The reward is {n} {c}.|Der Lohn ist {n} {c}.
I pay {n} {c}.|Ich zahle {n} {c}.
You owe me {n} {c}.|Du schuldest mir {n} {c}.
I only have {n} {c}.|Ich habe nur {n} {c}.
That makes {n} {c}.|Das macht {n} {c}.
The room costs {n} {c} a night.|Das Zimmer kostet {n} {c} pro Nacht.
I am {n} years old.|Ich bin {n} Jahre alt.
Open the door, {w}!|Öffne die Tür, {w}!
Can you help me?|Kannst du mir helfen?
I do not know that.|Das weiß ich nicht.
Go left, then right.|Geh links, dann rechts.
""".strip().splitlines()]

# Nothing in these is a combination: one that falls on the held-out side has not been shown at all, and is not asked for.
FIXED_KEYS = {"translate|" + en for en, _ in SENTENCES if "{" not in en}

DATIVES = {"Spinnen": "Spinnen", "Stürme": "Stürmen", "Flüche": "Flüchen", "Fledermäuse": "Fledermäusen"}

TO_GERMAN = {
    EN: ["Translate to German: {x}", "Translate into German: {x}", "How do you say in German: {x}", "Say in German: {x}",
         "In German, please: {x}"],
    DE: ["Übersetze ins Deutsche: {x}", "Was heißt auf Deutsch: {x}", "Wie sagt man auf Deutsch: {x}", "Sag auf Deutsch: {x}",
         "Auf Deutsch, bitte: {x}"],
}
TO_ENGLISH = {
    EN: ["Translate to English: {x}", "Translate into English: {x}", "How do you say in English: {x}", "Say in English: {x}",
         "In English, please: {x}"],
    DE: ["Übersetze ins Englische: {x}", "Was heißt auf Englisch: {x}", "Wie sagt man auf Englisch: {x}", "Sag auf Englisch: {x}",
         "Auf Englisch, bitte: {x}"],
}


def _capital(text):
    return text[0].upper() + text[1:]


def _noun(slots, letter, noun):
    slots[letter] = noun.en
    slots[letter + "_a"] = noun.a_en()
    slots[letter + "_pl"], slots[letter + "_plural"] = noun.en_pl, noun.de_pl
    slots[letter + "_der"], slots[letter + "_den"] = noun.the(), noun.the("acc")
    slots[letter + "_Der"] = _capital(noun.the())
    slots[letter + "_ein"], slots[letter + "_einen"], slots[letter + "_keinen"] = noun.a(), noun.a("acc"), noun.no("acc")


def _place(slots, letter, place):
    slots[letter] = place.en
    slots[letter + "_der"], slots[letter + "_Der"] = place.the_in(DE), _capital(place.the_in(DE))
    slots[letter + "_at_en"], slots[letter + "_at_de"] = place.at_en, place.at_de
    slots[letter + "_At_de"] = _capital(place.at_de)
    slots[letter + "_to"], slots[letter + "_away"] = place.to(DE), place.away_from(DE)


def _fill(rng, en, de):
    slots = {"n": rng.between(2, 60), "m": rng.between(2, 9)}
    used = en
    if "{g" in used or "{ag" in used:
        good = rng.pick(GOODS)
        _noun(slots, "g", good)
        if "{h" in used:
            other = rng.pick(GOODS)
            while other is good:
                other = rng.pick(GOODS)
            _noun(slots, "h", other)
    if "{a" in used:
        adjective = rng.pick(ADJECTIVES)
        slots["a"], slots["a_de"] = adjective
        if "{ag" in used:
            slots["ag_a"] = ("an " if adjective[0][0] in "aeiou" else "a ") + adjective[0] + " " + good.en
            for case in ("nom", "acc"):
                article = good.a(case).split(" ")[0]
                slots["ag_" + case] = "%s %s%s %s" % (article, adjective[1], ADJECTIVE_ENDINGS[case][good.gender], good.de)
    if "{o" in used:
        _noun(slots, "o", rng.pick(OBJECTS))
    if "{b" in used:
        _noun(slots, "b", rng.pick(BEINGS))
    if "{p" in used:
        _place(slots, "p", rng.pick(PLACES))
    if "{w" in used:
        female = rng.chance(0.5)
        slots["w"] = rng.pick(FEMALE_NAMES if female else MALE_NAMES)
        if "{j" in used:
            job = rng.pick(JOBS)
            slots["j"], slots["j_der"] = job.en, job.the(DE, "f" if female else "m")
    if "{t" in used:
        slots["t"] = rng.pick(TOWNS)
    for letter, table in (("c", COINS), ("k", LIKES), ("f", FEARS), ("d", MOODS)):
        if "{%s}" % letter in used:
            slots[letter], german = rng.pick(table)
            slots[letter + "_de"] = german
            slots[letter + "_dat"] = DATIVES.get(german, german)
    english = en.format(**slots)
    if "c_de" in slots:
        slots["c"] = slots["c_de"]
    return english, de.format(**slots)


def sentence(rng):
    """Returns: English, German, pattern."""
    x = rng.random()
    if x < 0.14:
        index, who, place = rng.below(len(RUMOURS)), rng.pick(BEINGS), rng.pick(PLACES)
        en = RUMOURS[index][0].format(who=who.a_en(), at=place.at_en)
        de = RUMOURS[index][1].format(who=who.a(), at=place.at_de)
        return _capital(en) + ".", _capital(de) + ".", "rumour %d" % index
    if x < 0.2:
        index, thing, place = rng.below(len(QUESTS)), rng.pick(OBJECTS), rng.pick(PLACES)
        en = QUESTS[index][0].format(thing=thing.en, at=place.at_en)
        de = QUESTS[index][1].format(the=thing.the("acc"), at=place.at_de)
        return _capital(en) + ".", _capital(de) + ".", "quest %d" % index
    if x < 0.28:
        noun = rng.pick(GOODS if rng.chance(0.5) else OBJECTS if rng.chance(0.5) else BEINGS)
        if rng.chance(0.5):
            return "the " + noun.en, noun.the(), "the noun"
        return noun.a_en(), noun.a(), "a noun"
    if x < 0.31:
        place = rng.pick(PLACES)
        return "the " + place.en, place.the_in(DE), "the place"
    en, de = rng.pick(SENTENCES)
    english, german = _fill(rng, en, de)
    return english, german, en


def translate_turn(rng, scene, lang):
    """lang: the language of the request."""
    english, german, pattern = sentence(rng)
    to_german = rng.chance(0.5)
    if rng.chance(0.7):  # people mostly ask in the language that they have the sentence in
        lang = EN if to_german else DE
    question = rng.pick((TO_GERMAN if to_german else TO_ENGLISH)[lang])
    source, target = (english, german) if to_german else (german, english)
    return Turn(TRANSLATIONS, lang, question.format(x=source), target, "translate|" + english, {"exact": target},
                ((lang, "", question, pattern), (DE if to_german else EN, "answer", pattern)), intent="translate")
