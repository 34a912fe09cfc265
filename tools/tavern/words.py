"""The words of the tavern world, English and German side by side.

Every table is one to one in both directions, so that a sentence has exactly one translation; generate.py --check
proves it. A German noun carries its gender (m, f, n); all articles and cases follow from that.
"""

EN, DE = "en", "de"
LANGUAGES = (EN, DE)


class Noun:
    """A thing or a being in both languages."""

    __slots__ = ("en", "en_pl", "gender", "de", "de_pl")

    def __init__(self, en, en_pl, gender, de, de_pl):
        self.en, self.en_pl, self.gender, self.de, self.de_pl = en, en_pl, gender, de, de_pl

    def name(self, lang):
        return self.en if lang == EN else self.de

    def count(self, n, lang):
        """The form behind a number: "2 apples"."""
        if n == 1:
            return self.name(lang)
        return self.en_pl if lang == EN else self.de_pl

    def _declined(self, case):
        return self.de if case == "nom" else WEAK_NOUNS.get(self.de, self.de)

    def the(self, case="nom"):
        return ARTICLES[case][self.gender] + " " + self._declined(case)

    def a(self, case="nom"):
        return INDEFINITES[case][self.gender] + " " + self._declined(case)

    def no(self, case="nom"):
        return "k" + self.a(case)

    def a_en(self):
        return ("an " if self.en[0] in "aeiou" else "a ") + self.en

    def a_in(self, lang, case="nom"):
        return self.a_en() if lang == EN else self.a(case)

    def the_in(self, lang, case="nom"):
        return "the " + self.en if lang == EN else self.the(case)


ARTICLES = {
    "nom": {"m": "der", "f": "die", "n": "das"},
    "acc": {"m": "den", "f": "die", "n": "das"},
    "dat": {"m": "dem", "f": "der", "n": "dem"},
}
INDEFINITES = {
    "nom": {"m": "ein", "f": "eine", "n": "ein"},
    "acc": {"m": "einen", "f": "eine", "n": "ein"},
    "dat": {"m": "einem", "f": "einer", "n": "einem"},
}
# Nouns that change in the other cases: "den Drachen".
WEAK_NOUNS = {"Drache": "Drachen", "Bär": "Bären", "Riese": "Riesen", "Pirat": "Piraten", "Soldat": "Soldaten"}
# Endings of adjectives: "ein alter Helm" (nom), "einen alten Helm" (acc).
ADJECTIVE_ENDINGS = {"nom": {"m": "er", "f": "e", "n": "es"}, "acc": {"m": "en", "f": "e", "n": "es"}}


def _nouns(table):
    out = []
    for line in table.strip().splitlines():
        en, en_pl, gender, de, de_pl = [field.strip() for field in line.split("|")]
        out.append(Noun(en, en_pl, gender, de, de_pl))
    return out


GOODS = _nouns("""
beer|beers|n|Bier|Bier
wine|wines|m|Wein|Weine
cider|ciders|m|Most|Most
juice|juices|m|Saft|Säfte
tea|teas|m|Tee|Tees
soup|soups|f|Suppe|Suppen
stew|stews|m|Eintopf|Eintöpfe
roast|roasts|m|Braten|Braten
loaf|loaves|n|Brot|Brote
roll|rolls|n|Brötchen|Brötchen
cake|cakes|m|Kuchen|Kuchen
pie|pies|f|Pastete|Pasteten
cheese|cheeses|m|Käse|Käse
sausage|sausages|f|Wurst|Würste
ham|hams|m|Schinken|Schinken
fish|fish|m|Fisch|Fische
egg|eggs|n|Ei|Eier
apple|apples|m|Apfel|Äpfel
pear|pears|f|Birne|Birnen
plum|plums|f|Pflaume|Pflaumen
nut|nuts|f|Nuss|Nüsse
onion|onions|f|Zwiebel|Zwiebeln
carrot|carrots|f|Karotte|Karotten
pumpkin|pumpkins|m|Kürbis|Kürbisse
mushroom|mushrooms|m|Pilz|Pilze
bone|bones|m|Knochen|Knochen
candle|candles|f|Kerze|Kerzen
torch|torches|f|Fackel|Fackeln
lamp|lamps|f|Lampe|Lampen
rope|ropes|n|Seil|Seile
sack|sacks|m|Sack|Säcke
barrel|barrels|n|Fass|Fässer
bottle|bottles|f|Flasche|Flaschen
mug|mugs|m|Krug|Krüge
bowl|bowls|f|Schüssel|Schüsseln
spoon|spoons|m|Löffel|Löffel
knife|knives|n|Messer|Messer
axe|axes|f|Axt|Äxte
hammer|hammers|m|Hammer|Hämmer
nail|nails|m|Nagel|Nägel
horseshoe|horseshoes|n|Hufeisen|Hufeisen
saddle|saddles|m|Sattel|Sättel
sword|swords|n|Schwert|Schwerter
dagger|daggers|m|Dolch|Dolche
spear|spears|m|Speer|Speere
bow|bows|m|Bogen|Bögen
arrow|arrows|m|Pfeil|Pfeile
shield|shields|m|Schild|Schilde
helmet|helmets|m|Helm|Helme
coat|coats|m|Mantel|Mäntel
hat|hats|m|Hut|Hüte
belt|belts|m|Gürtel|Gürtel
boot|boots|m|Stiefel|Stiefel
glove|gloves|m|Handschuh|Handschuhe
blanket|blankets|f|Decke|Decken
pillow|pillows|n|Kissen|Kissen
tent|tents|n|Zelt|Zelte
potion|potions|m|Trank|Tränke
ointment|ointments|f|Salbe|Salben
herb|herbs|n|Kraut|Kräuter
feather|feathers|f|Feder|Federn
map|maps|f|Karte|Karten
drum|drums|f|Trommel|Trommeln
flute|flutes|f|Flöte|Flöten
""")

# What quests are about and what people know something about.
OBJECTS = _nouns("""
ring|rings|m|Ring|Ringe
crown|crowns|f|Krone|Kronen
key|keys|m|Schlüssel|Schlüssel
chest|chests|f|Truhe|Truhen
letter|letters|m|Brief|Briefe
treasure|treasures|m|Schatz|Schätze
chain|chains|f|Kette|Ketten
mirror|mirrors|m|Spiegel|Spiegel
jewel|jewels|m|Edelstein|Edelsteine
diary|diaries|n|Tagebuch|Tagebücher
goblet|goblets|m|Kelch|Kelche
horn|horns|n|Horn|Hörner
bell|bells|f|Glocke|Glocken
statue|statues|f|Statue|Statuen
staff|staffs|m|Stab|Stäbe
mask|masks|f|Maske|Masken
cat|cats|f|Katze|Katzen
dog|dogs|m|Hund|Hunde
goat|goats|f|Ziege|Ziegen
horse|horses|n|Pferd|Pferde
cow|cows|f|Kuh|Kühe
anchor|anchors|m|Anker|Anker
banner|banners|n|Banner|Banner
skull|skulls|m|Schädel|Schädel
""")

# Who rumours are about.
BEINGS = _nouns("""
wolf|wolves|m|Wolf|Wölfe
ghost|ghosts|m|Geist|Geister
thief|thieves|m|Dieb|Diebe
dragon|dragons|m|Drache|Drachen
knight|knights|m|Ritter|Ritter
witch|witches|f|Hexe|Hexen
bear|bears|m|Bär|Bären
troll|trolls|m|Troll|Trolle
wizard|wizards|m|Zauberer|Zauberer
princess|princesses|f|Prinzessin|Prinzessinnen
giant|giants|m|Riese|Riesen
monk|monks|m|Mönch|Mönche
pirate|pirates|m|Pirat|Piraten
spy|spies|m|Spion|Spione
goblin|goblins|m|Kobold|Kobolde
vampire|vampires|m|Vampir|Vampire
nun|nuns|f|Nonne|Nonnen
soldier|soldiers|m|Soldat|Soldaten
robber|robbers|m|Räuber|Räuber
dwarf|dwarves|m|Zwerg|Zwerge
elf|elves|f|Elfe|Elfen
fox|foxes|m|Fuchs|Füchse
orc|orcs|m|Ork|Orks
snake|snakes|f|Schlange|Schlangen
""")


class Place:
    """A place: "at the mill", "bei der Mühle". at_en, at_de: where something happens; the rest follows."""

    __slots__ = ("en", "gender", "de", "at_en", "at_de")

    def __init__(self, en, gender, de, at_en, at_de):
        self.en, self.gender, self.de, self.at_en, self.at_de = en, gender, de, at_en, at_de

    def name(self, lang):
        return self.en if lang == EN else self.de

    def at(self, lang):
        return self.at_en if lang == EN else self.at_de

    def to(self, lang):
        if lang == EN:
            return "to the " + self.en
        return ("zur " if self.gender == "f" else "zum ") + self.de

    def away_from(self, lang):
        if lang == EN:
            return "away from the " + self.en
        return ("weg von der " if self.gender == "f" else "weg vom ") + self.de

    def the_in(self, lang, case="nom"):
        return "the " + self.en if lang == EN else ARTICLES[case][self.gender] + " " + self.de


def _places(table):
    out = []
    for line in table.strip().splitlines():
        en, gender, de, at_en, at_de = [field.strip() for field in line.split("|")]
        out.append(Place(en, gender, de, at_en + " the " + en, at_de + " " + de))
    return out


PLACES = _places("""
mill|f|Mühle|at|bei der
market|m|Markt|at|auf dem
smithy|f|Schmiede|in|in der
harbour|m|Hafen|at|im
temple|m|Tempel|in|im
bridge|f|Brücke|at|an der
well|m|Brunnen|at|am
forest|m|Wald|in|im
castle|f|Burg|in|auf der
tower|m|Turm|in|im
stable|m|Stall|in|im
bakery|f|Bäckerei|in|in der
graveyard|m|Friedhof|at|auf dem
gate|n|Tor|at|am
mine|f|Mine|in|in der
cave|f|Höhle|in|in der
lake|m|See|at|am
swamp|m|Sumpf|in|im
ruin|f|Ruine|at|bei der
farm|m|Hof|at|auf dem
monastery|n|Kloster|in|im
garden|m|Garten|in|im
barn|f|Scheune|in|in der
river|m|Fluss|at|am
hill|m|Hügel|on|auf dem
school|f|Schule|in|in der
library|f|Bibliothek|in|in der
prison|n|Gefängnis|in|im
lighthouse|m|Leuchtturm|at|am
oak|f|Eiche|at|bei der
""")

# One step of a way: where to turn, then the landmark in the dative.
TURNS = [("left", "links"), ("right", "rechts"), ("straight on", "geradeaus")]
# Position of a landmark: English, German for masculine and neuter, German for feminine.
POSITIONS = [("at the", "am", "an der"), ("behind the", "hinter dem", "hinter der"), ("past the", "nach dem", "nach der"),
             ("before the", "vor dem", "vor der")]


class Job:
    __slots__ = ("en", "male", "female")

    def __init__(self, en, male, female):
        self.en, self.male, self.female = en, male, female

    def name(self, lang, gender):
        return self.en if lang == EN else (self.female if gender == "f" else self.male)

    def the(self, lang, gender):
        if lang == EN:
            return "the " + self.en
        return ("die " + self.female) if gender == "f" else ("der " + self.male)


JOBS = [Job(*line.split("|")) for line in """
innkeeper|Wirt|Wirtin
smith|Schmied|Schmiedin
baker|Bäcker|Bäckerin
merchant|Händler|Händlerin
healer|Heiler|Heilerin
hunter|Jäger|Jägerin
fisher|Fischer|Fischerin
tailor|Schneider|Schneiderin
cook|Koch|Köchin
guard|Wächter|Wächterin
brewer|Brauer|Brauerin
potter|Töpfer|Töpferin
miller|Müller|Müllerin
gardener|Gärtner|Gärtnerin
singer|Sänger|Sängerin
farmer|Bauer|Bäuerin
""".strip().splitlines()]

# Names of women end in a or e, names of men in neither: the German job titles follow from that.
FEMALE_NAMES = ("Mara Lina Greta Hilda Berta Elsa Tilda Runa Frida Wanda Ida Nora Selma Jutta Ylva Anna Emma Klara "
                "Thea Lotte Mathilde Sophie Irma Rika Zara Britta Dora Gisela Heide Karla").split()
MALE_NAMES = ("Orm Bruno Kurt Aldo Finn Gregor Hagen Jorin Konrad Lothar Magnus Niklas Otto Pelle Ragnar Sven Tomas Ulrich "
              "Viktor Wilm Arnold Bertram Dietmar Egon Falk Gunther Harald Ingmar Jasper Leif").replace("Pelle", "Peter").split()
TOWNS = ("Eldham Norwick Birkenau Falkenstein Graufels Silberbach Rabenholm Westmark Highfield Ashford Oakenhill Redwater "
         "Lindental Moorwald Steinbruck Winterfurt Hollowdale Millbrook Kaltenberg Greywick Sonnental Thornwood "
         "Eisenhain Langmoor").split()
# Taverns: adjective and animal; in German both with "-e" in the nominative and "-en" behind im, in der.
TAVERN_ADJECTIVES = [("Golden", "Golden"), ("Red", "Rot"), ("Black", "Schwarz"), ("Old", "Alt"), ("Merry", "Lustig"),
                     ("Blind", "Blind"), ("White", "Weiß"), ("Proud", "Stolz")]
TAVERN_ANIMALS = [("Goose", "f", "Gans"), ("Stag", "m", "Hirsch"), ("Raven", "m", "Rabe"), ("Boar", "m", "Eber"),
                  ("Lion", "m", "Löwe"), ("Owl", "f", "Eule"), ("Duck", "f", "Ente"), ("Eagle", "m", "Adler"),
                  ("Pony", "n", "Pony"), ("Lamb", "n", "Lamm"), ("Cockerel", "m", "Hahn"), ("Mouse", "f", "Maus")]
WEAK_ANIMALS = {"Rabe": "Raben", "Löwe": "Löwen"}

COINS = [("silver", "Silber"), ("gold", "Gold"), ("copper", "Kupfer")]
# Mood: English, German, then what such a character opens with and says good-bye with.
MOODS = [("cheerful", "fröhlich"), ("grumpy", "mürrisch"), ("tired", "müde"), ("friendly", "freundlich"), ("sad", "traurig"),
         ("nervous", "nervös"), ("proud", "stolz"), ("angry", "wütend")]
LIKES = [("music", "Musik"), ("dancing", "Tanzen"), ("honey", "Honig"), ("rain", "Regen"), ("fishing", "Angeln"),
         ("stories", "Geschichten"), ("cards", "Kartenspiele"), ("snow", "Schnee"), ("silence", "Stille"),
         ("gossip", "Klatsch"), ("roses", "Rosen"), ("riding", "Reiten")]
FEARS = [("spiders", "Spinnen"), ("rats", "Ratten"), ("storms", "Stürme"), ("darkness", "Dunkelheit"), ("fire", "Feuer"),
         ("bats", "Fledermäuse"), ("heights", "Höhe"), ("curses", "Flüche"), ("war", "Krieg"), ("taxes", "Steuern"),
         ("bees", "Bienen"), ("thunder", "Donner")]
DOORS = [("cellar", "m", "Keller"), ("kitchen", "f", "Küche"), ("attic", "m", "Speicher"), ("chamber", "f", "Kammer"),
         ("storeroom", "n", "Lager"), ("yard", "m", "Innenhof"), ("hall", "m", "Saal"), ("shed", "m", "Schuppen")]
ADJECTIVES = [("old", "alt"), ("new", "neu"), ("heavy", "schwer"), ("light", "leicht"), ("small", "klein"), ("big", "groß"),
              ("cheap", "billig"), ("good", "gut"), ("bad", "schlecht"), ("beautiful", "schön"), ("dirty", "schmutzig"),
              ("clean", "sauber"), ("red", "rot"), ("black", "schwarz"), ("broken", "kaputt"), ("rare", "selten")]
NUMBERS = [("one", "ein"), ("two", "zwei"), ("three", "drei"), ("four", "vier"), ("five", "fünf"), ("six", "sechs"),
           ("seven", "sieben"), ("eight", "acht"), ("nine", "neun"), ("ten", "zehn")]

# What somebody in a tavern cannot know: English, German.
FOREIGN = [line.split("|") for line in """
computers|Computer
France|Frankreich
football|Fußball
the internet|das Internet
politics|Politik
physics|Physik
mathematics|Mathematik
cars|Autos
Africa|Afrika
television|Fernsehen
Python|Python
chemistry|Chemie
airplanes|Flugzeuge
America|Amerika
robots|Roboter
telephones|Telefone
electricity|Strom
the stock market|die Börse
Einstein|Einstein
pizza|Pizza
tomatoes|Tomaten
coffee|Kaffee
trains|Züge
Berlin|Berlin
London|London
the moon landing|die Mondlandung
DNA|DNA
viruses|Viren
quantum theory|Quantentheorie
democracy|Demokratie
China|China
space travel|Raumfahrt
""".strip().splitlines()]

# Rumours: {who} and {at} are filled in. German is worded so that it stands alone and behind "Man sagt, ".
RUMOURS = [
    ("{who} was seen {at}", "{who} wurde {at} gesehen"),
    ("{who} is hiding {at}", "{who} versteckt sich {at}"),
    ("{who} sleeps {at}", "{who} schläft {at}"),
    ("{who} is looking for gold {at}", "{who} sucht {at} nach Gold"),
    ("{who} sings {at} at night", "{who} singt nachts {at}"),
    ("{who} has built a camp {at}", "{who} hat {at} ein Lager gebaut"),
    ("{who} lost a bag {at}", "{who} hat {at} eine Tasche verloren"),
    ("{who} is waiting for help {at}", "{who} wartet {at} auf Hilfe"),
    ("{who} buried gold {at}", "{who} hat {at} Gold vergraben"),
    ("{who} lives {at} now", "{who} wohnt jetzt {at}"),
    ("{who} scares the people {at}", "{who} erschreckt {at} die Leute"),
    ("{who} was caught {at}", "{who} wurde {at} gefangen"),
]
# Quests: {the} in the accusative, {at} a place.
QUESTS = [
    ("find the {thing} {at}", "finde {the} {at}"),
    ("steal the {thing} {at}", "stiehl {the} {at}"),
    ("guard the {thing} {at}", "bewache {the} {at}"),
    ("hide the {thing} {at}", "versteck {the} {at}"),
    ("fetch the {thing} {at}", "hol {the} {at}"),
    ("sell the {thing} {at}", "verkaufe {the} {at}"),
]

SYLLABLES = ("ba be bo bri da do dra el fa fen fi gar gil gu ha hel ir ka ker kra la lo lun ma mir mo nar ne no or pa per "
             "qui ra rin ro sa sel sha ta tor tru ul va vel vi wen wi yl za zor").split()
