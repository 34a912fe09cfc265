"""A scene: one character with what it knows, and the system prompt that tells it.

Every fact of a scene has a key; a scene for training holds no fact whose key is held out, a scene for tests holds as
many of them as it can.
"""

from split import held_out
from words import (BEINGS, COINS, DE, DOORS, EN, FEARS, FEMALE_NAMES, GOODS, JOBS, LIKES, MALE_NAMES, MOODS, OBJECTS,
                   PLACES, POSITIONS, QUESTS, RUMOURS, SYLLABLES, TAVERN_ADJECTIVES, TAVERN_ANIMALS, TOWNS, TURNS,
                   WEAK_ANIMALS)

MAX_PRICE = 20
SECTIONS = {"tavern": 0.55, "mood": 0.6, "personal": 0.2, "goods": 0.72, "ways": 0.45, "rumour": 0.42, "quest": 0.38,
            "people": 0.42}


def made_up_word(rng):
    return "".join(rng.pick(SYLLABLES) for _ in range(rng.between(2, 3)))


def random_name(rng):
    """A name and its gender: names that end in a or e are women's."""
    if rng.chance(0.2):
        name = made_up_word(rng).capitalize()
    else:
        name = rng.pick(FEMALE_NAMES if rng.chance(0.5) else MALE_NAMES)
    return name, "f" if name[-1] in "ae" else "m"


class Tavern:
    def __init__(self, rng):
        self.adjective = rng.pick(TAVERN_ADJECTIVES)
        self.animal = rng.pick(TAVERN_ANIMALS)

    def the(self, lang):
        if lang == EN:
            return "the %s %s" % (self.adjective[0], self.animal[0])
        gender, noun = self.animal[1:]
        return "%s %se %s" % ({"m": "der", "f": "die", "n": "das"}[gender], self.adjective[1], noun)

    def at(self, lang):
        if lang == EN:
            return "in the %s %s" % (self.adjective[0], self.animal[0])
        gender, noun = self.animal[1:]
        return "%s %sen %s" % ("in der" if gender == "f" else "im", self.adjective[1], WEAK_ANIMALS.get(noun, noun))

    def bare(self, lang):
        """Without the article: what an answer must contain."""
        return self.the(lang).split(" ", 1)[1]


class Way:
    def __init__(self, rng, target):
        self.target = target
        self.steps = [self._step(rng)]
        if rng.chance(0.35):
            self.steps.append(self._step(rng))

    def _step(self, rng):
        landmark = rng.pick(PLACES)
        while landmark is self.target:
            landmark = rng.pick(PLACES)
        return rng.below(3), rng.below(len(POSITIONS)), landmark

    def key(self):
        turn, position, landmark = self.steps[0]
        return "way|%s|%d|%d|%s" % (self.target.en, turn, position, landmark.en)

    def text(self, lang):
        return (", then " if lang == EN else ", dann ").join(self._step_text(step, lang) for step in self.steps)

    def _step_text(self, step, lang):
        turn, position, landmark = step
        if turn == 2:
            return "straight on " + landmark.to(EN) if lang == EN else "geradeaus bis " + landmark.to(DE)
        if lang == EN:
            return "%s %s %s" % (TURNS[turn][0], POSITIONS[position][0], landmark.en)
        return "%s %s %s" % (TURNS[turn][1], POSITIONS[position][2 if landmark.gender == "f" else 1], landmark.de)


class Rumour:
    def __init__(self, rng):
        self.event, self.who, self.place = rng.below(len(RUMOURS)), rng.pick(BEINGS), rng.pick(PLACES)

    def key(self):
        return "rumour|%d|%s|%s" % (self.event, self.who.en, self.place.en)

    def text(self, lang):
        return RUMOURS[self.event][0 if lang == EN else 1].format(who=self.who.a_in(lang), at=self.place.at(lang))


class Quest:
    def __init__(self, rng):
        self.verb, self.thing, self.place = rng.below(len(QUESTS)), rng.pick(OBJECTS), rng.pick(PLACES)
        self.reward = rng.between(2, 30)

    def key(self):
        return "quest|%d|%s|%s" % (self.verb, self.thing.en, self.place.en)

    def reward_key(self):
        return "reward|%s|%d" % (self.thing.en, self.reward)

    def keys(self):
        return [self.key(), self.reward_key()]

    def text(self, lang):
        if lang == EN:
            return QUESTS[self.verb][0].format(thing=self.thing.en, at=self.place.at(EN))
        return QUESTS[self.verb][1].format(the=self.thing.the("acc"), at=self.place.at(DE))


class Person:
    def __init__(self, rng):
        self.name, self.gender = random_name(rng)
        self.job, self.place = rng.pick(JOBS), rng.pick(PLACES)
        self.knows = rng.pick(OBJECTS) if rng.chance(0.6) else None

    def key(self):
        return "person|%s|%s" % (self.name, self.job.en)

    def where_key(self):
        return "where|%s|%s" % (self.name, self.place.en)

    def knows_key(self):
        return "knows|%s|%s" % (self.name, self.knows.en if self.knows else "")

    def keys(self):
        return [self.key(), self.where_key()] + ([self.knows_key()] if self.knows else [])


class Good:
    __slots__ = ("noun", "price")

    def __init__(self, noun, price):
        self.noun, self.price = noun, price

    def key(self):
        return "good|%s|%d" % (self.noun.en, self.price)


class Scene:
    """What the character is and knows. `test`: facts are taken from the held-out combinations where that is possible."""

    def __init__(self, rng, test=False, sections=SECTIONS, lang=None):
        """sections: name -> how likely the scene has it; least_people: how many there are at least where there are any."""
        self.test = test
        self.lang = lang or (EN if rng.chance(0.5) else DE)
        self.prose = rng.chance(0.3)
        self.coin = rng.weighted([(COINS[0], 5), (COINS[1], 3), (COINS[2], 2)])
        self.tools = []
        (self.name, self.gender), self.town = self._fact(lambda: (random_name(rng), rng.pick(TOWNS)),
                                                        lambda made: "self|%s|%s" % (made[0][0], made[1]))
        self.job = JOBS[0] if rng.chance(0.3) else rng.pick(JOBS)
        self.tavern = Tavern(rng) if rng.chance(sections.get("tavern", 0)) else None
        self.mood = self.age = self.origin = self.likes = self.fears = self.rumour = self.quest = None
        self.goods, self.ways, self.people = [], [], []
        if rng.chance(sections.get("mood", 0)):
            self.mood = self._fact(lambda: rng.pick(MOODS), lambda mood: "mood|%s|%s" % (self.name, mood[0]))
        self._personal(rng, sections.get("personal", 0))
        if rng.chance(sections.get("goods", 0)):
            for noun in rng.sample(GOODS, rng.between(2, 5)):
                self.goods.append(self._fact(lambda: Good(noun, self._price(rng)), Good.key))
        if rng.chance(sections.get("ways", 0)):
            for place in rng.sample(PLACES, rng.between(1, 2)):
                self.ways.append(self._fact(lambda: Way(rng, place), Way.key))
        if rng.chance(sections.get("rumour", 0)):
            self.rumour = self._fact(lambda: Rumour(rng), Rumour.key)
        if rng.chance(sections.get("quest", 0)):
            self.quest = self._fact(lambda: Quest(rng), Quest.keys)
        if rng.chance(sections.get("people", 0)):
            names = {self.name}
            for _ in range(rng.between(sections.get("least_people", 1), 2)):
                person = self._fact(lambda: Person(rng), Person.keys)
                taken = any(person.job is other.job or (person.knows and person.knows is other.knows) for other in self.people)
                if person.name not in names and not taken and person.job is not self.job:
                    names.add(person.name)
                    self.people.append(person)

    def _price(self, rng):
        return rng.between(1, 10) if rng.chance(0.7) else rng.between(1, MAX_PRICE)

    def _fact(self, make, key):
        """A random fact that is not held out; for tests one that is, if 80 tries find one. key gives a key, or several of
        which none may be held out in training."""
        for _ in range(80):
            made = make()
            keys = key(made)
            if any(held_out(one) for one in ([keys] if isinstance(keys, str) else keys)) == self.test:
                break
        return made

    def _personal(self, rng, likely):
        if rng.chance(likely):
            self.age = self._fact(lambda: rng.between(18, 79), lambda age: "age|%s|%d" % (self.name, age))
        if rng.chance(likely):
            self.origin = self._fact(lambda: rng.pick(TOWNS), lambda town: "origin|%s|%s" % (self.name, town))
        if rng.chance(likely):
            self.likes = self._fact(lambda: rng.pick(LIKES), lambda what: "likes|%s|%s" % (self.name, what[0]))
        if rng.chance(likely):
            self.fears = self._fact(lambda: rng.pick(FEARS), lambda what: "fears|%s|%s" % (self.name, what[0]))

    def coin_name(self, lang):
        return self.coin[0 if lang == EN else 1]

    def find_good(self, noun):
        for good in self.goods:
            if good.noun is noun:
                return good
        return None

    def system_prompt(self, rng):
        lines = self._sections(EN if self.lang == EN else DE)
        head, rest = lines[0], lines[1:]
        if rng.chance(0.3):
            rest = rng.sample(rest, len(rest))
        return (" " if self.prose else "\n").join([head] + rest)

    def _sections(self, lang):
        i = 0 if lang == EN else 1
        job = self.job.name(lang, self.gender)
        at = self.tavern.at(lang) if self.tavern else None
        lines = []
        if self.prose:
            head = (("Your name is %s. You work as %s" if lang == EN else "Dein Name ist %s. Du arbeitest als %s") %
                    (self.name, job + (" " + at if at else "") + " in " + self.town) + ".")
        else:
            head = ("You are %s, %s" if lang == EN else "Du bist %s, %s") % (
                self.name, job + (" " + at if at else "") + " in " + self.town) + "."
        words = PROSE[lang] if self.prose else CARD[lang]
        for name, value in (("mood", self.mood and self.mood[i]), ("age", self.age), ("origin", self.origin),
                            ("likes", self.likes and self.likes[i]), ("fears", self.fears and self.fears[i])):
            if value:
                head += " " + words[name] % value
        lines.append(head)
        coin = self.coin_name(lang)
        if self.goods:
            if self.prose:
                goods = ", ".join(words["good"] % (good.noun.name(lang), good.price, coin) for good in self.goods)
                lines.append(words["goods"] % goods)
            else:
                goods = ", ".join("%s %d" % (good.noun.name(lang), good.price) for good in self.goods)
                lines.append(words["goods"] % (coin, goods))
        for way in self.ways:
            lines.append(words["way"] % (_capital(way.target.to(lang)) if not self.prose else way.target.to(lang), way.text(lang)))
        if self.rumour:
            lines.append(words["rumour"] % self.rumour.text(lang))
        if self.quest:
            lines.append(words["quest"] % (self.quest.text(lang), self.quest.reward, coin))
        for person in self.people:
            line = words["person"] % (person.name, person.job.the(lang, person.gender), person.place.at(lang))
            if person.knows:
                line += words["knows"] % person.knows.the_in(lang, "acc")
            lines.append(line + ".")
        return lines


def _capital(text):
    return text[0].upper() + text[1:]


CARD = {
    EN: {"mood": "Mood: %s.", "age": "Age: %d.", "origin": "From %s.", "likes": "Likes %s.", "fears": "Fears %s.",
         "goods": "Goods in %s: %s.", "way": "%s: %s.", "rumour": "Rumour: %s.", "quest": "Quest: %s. Reward: %d %s.",
         "person": "%s, %s, is %s", "knows": " and knows about %s"},
    DE: {"mood": "Laune: %s.", "age": "Alter: %d.", "origin": "Aus %s.", "likes": "Mag %s.", "fears": "Fürchtet %s.",
         "goods": "Waren in %s: %s.", "way": "%s: %s.", "rumour": "Gerücht: %s.", "quest": "Auftrag: %s. Lohn: %d %s.",
         "person": "%s, %s, ist %s", "knows": " und weiß etwas über %s"},
}
PROSE = {
    EN: {"mood": "You are %s today.", "age": "You are %d years old.", "origin": "You come from %s.", "likes": "You like %s.",
         "fears": "You fear %s.", "good": "%s for %d %s", "goods": "You sell %s.", "way": "The way %s: %s.",
         "rumour": "You have heard this: %s.", "quest": "You need help: %s. The reward is %d %s.",
         "person": "You know %s, %s, who is %s", "knows": " and knows about %s"},
    DE: {"mood": "Du bist heute %s.", "age": "Du bist %d Jahre alt.", "origin": "Du kommst aus %s.", "likes": "Du magst %s.",
         "fears": "Du fürchtest %s.", "good": "%s für %d %s", "goods": "Du verkaufst %s.", "way": "Der Weg %s: %s.",
         "rumour": "Du hast gehört: %s.", "quest": "Du brauchst Hilfe: %s. Der Lohn ist %d %s.",
         "person": "Hier lebt %s, %s, meist %s", "knows": ", und weiß etwas über %s"},
}
