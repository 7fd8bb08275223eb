"""Nouns by kind. A kind says what verbs and adjectives make sense with a noun.

A row is ``english[/plural]: article singular, genitive, plural[, feminine noun]``. After the English word,
``~`` marks a mass noun, ``*`` one that is plural in English only, ``+`` one that is plural in both.
"""

from typing import Dict, List

from rdrop_fairseq.data.generated_corpus import english
from rdrop_fairseq.data.generated_corpus.german import GermanNoun
from rdrop_fairseq.data.generated_corpus.phrases import Noun

_ROWS = {
    # Relatives: with a possessive or in the genitive construction.
    "relative m": """
        father: der Vater, Vaters, Väter
        brother: der Bruder, Bruders, Brüder
        uncle: der Onkel, Onkels, Onkel
        grandfather: der Großvater, Großvaters, Großväter
        son: der Sohn, Sohnes, Söhne
        nephew: der Neffe, Neffen, Neffen
        grandson: der Enkel, Enkels, Enkel
        husband: der Mann, Mannes, Männer
    """,
    "relative f": """
        mother: die Mutter, Mutter, Mütter
        sister: die Schwester, Schwester, Schwestern
        aunt: die Tante, Tante, Tanten
        grandmother: die Großmutter, Großmutter, Großmütter
        daughter: die Tochter, Tochter, Töchter
        niece: die Nichte, Nichte, Nichten
        granddaughter: die Enkelin, Enkelin, Enkelinnen
        wife/wives: die Frau, Frau, Frauen
    """,
    "relative plural": """
        parents+: die Eltern, Eltern, Eltern
        grandparents+: die Großeltern, Großeltern, Großeltern
        children+: die Kinder, Kinder, Kinder
        siblings+: die Geschwister, Geschwister, Geschwister
    """,
    # Like relatives, but the English word does not show the sex.
    "acquaintance": """
        friend: der Freund, Freundes, Freunde, Freundin
        neighbour: der Nachbar, Nachbarn, Nachbarn, Nachbarin
        colleague: der Kollege, Kollegen, Kollegen, Kollegin
        boss: der Chef, Chefs, Chefs, Chefin
        cousin: der Cousin, Cousins, Cousins, Cousine
    """,
    "person": """
        teacher: der Lehrer, Lehrers, Lehrer, Lehrerin
        doctor: der Arzt, Arztes, Ärzte, Ärztin
        dentist: der Zahnarzt, Zahnarztes, Zahnärzte, Zahnärztin
        student: der Student, Studenten, Studenten, Studentin
        pupil: der Schüler, Schülers, Schüler, Schülerin
        journalist: der Journalist, Journalisten, Journalisten, Journalistin
        tourist: der Tourist, Touristen, Touristen, Touristin
        lawyer: der Anwalt, Anwalts, Anwälte, Anwältin
        engineer: der Ingenieur, Ingenieurs, Ingenieure, Ingenieurin
        gardener: der Gärtner, Gärtners, Gärtner, Gärtnerin
        baker: der Bäcker, Bäckers, Bäcker, Bäckerin
        butcher: der Metzger, Metzgers, Metzger, Metzgerin
        cook: der Koch, Kochs, Köche, Köchin
        painter: der Maler, Malers, Maler, Malerin
        singer: der Sänger, Sängers, Sänger, Sängerin
        musician: der Musiker, Musikers, Musiker, Musikerin
        writer: der Schriftsteller, Schriftstellers, Schriftsteller, Schriftstellerin
        driver: der Fahrer, Fahrers, Fahrer, Fahrerin
        pilot: der Pilot, Piloten, Piloten, Pilotin
        photographer: der Fotograf, Fotografen, Fotografen, Fotografin
        soldier: der Soldat, Soldaten, Soldaten, Soldatin
        farmer: der Bauer, Bauern, Bauern, Bäuerin
        judge: der Richter, Richters, Richter, Richterin
        mayor: der Bürgermeister, Bürgermeisters, Bürgermeister, Bürgermeisterin
        customer: der Kunde, Kunden, Kunden, Kundin
        president: der Präsident, Präsidenten, Präsidenten, Präsidentin
        director: der Direktor, Direktors, Direktoren, Direktorin
        scientist: der Wissenschaftler, Wissenschaftlers, Wissenschaftler, Wissenschaftlerin
        craftsman/craftsmen: der Handwerker, Handwerkers, Handwerker
        guest: der Gast, Gastes, Gäste
        child/children: das Kind, Kindes, Kinder
    """,
    "person m": """
        policeman/policemen: der Polizist, Polizisten, Polizisten
        waiter: der Kellner, Kellners, Kellner
        actor: der Schauspieler, Schauspielers, Schauspieler
        king: der König, Königs, Könige
        prince: der Prinz, Prinzen, Prinzen
        boy: der Junge, Jungen, Jungen
        man/men: der Mann, Mannes, Männer
    """,
    "person f": """
        policewoman/policewomen: die Polizistin, Polizistin, Polizistinnen
        waitress: die Kellnerin, Kellnerin, Kellnerinnen
        actress: die Schauspielerin, Schauspielerin, Schauspielerinnen
        queen: die Königin, Königin, Königinnen
        princess: die Prinzessin, Prinzessin, Prinzessinnen
        nurse: die Krankenschwester, Krankenschwester, Krankenschwestern
        girl: das Mädchen, Mädchens, Mädchen
        woman/women: die Frau, Frau, Frauen
    """,
    "pet": """
        dog: der Hund, Hundes, Hunde
        cat: die Katze, Katze, Katzen
        horse: das Pferd, Pferdes, Pferde
        rabbit: das Kaninchen, Kaninchens, Kaninchen
        goat: die Ziege, Ziege, Ziegen
        donkey: der Esel, Esels, Esel
        bird: der Vogel, Vogels, Vögel
        hen: die Henne, Henne, Hennen
        duck: die Ente, Ente, Enten
        sheep/sheep: das Schaf, Schafes, Schafe
        pig: das Schwein, Schweins, Schweine
        cow: die Kuh, Kuh, Kühe
    """,
    "wild animal": """
        bear: der Bär, Bären, Bären
        lion: der Löwe, Löwen, Löwen
        monkey: der Affe, Affen, Affen
        elephant: der Elefant, Elefanten, Elefanten
        wolf/wolves: der Wolf, Wolfes, Wölfe
        fox: der Fuchs, Fuchses, Füchse
        mouse/mice: die Maus, Maus, Mäuse
        snake: die Schlange, Schlange, Schlangen
    """,
    "reading": """
        book: das Buch, Buches, Bücher
        letter: der Brief, Briefes, Briefe
        novel: der Roman, Romans, Romane
        newspaper: die Zeitung, Zeitung, Zeitungen
        magazine: die Zeitschrift, Zeitschrift, Zeitschriften
        report: der Bericht, Berichts, Berichte
        article: der Artikel, Artikels, Artikel
        poem: das Gedicht, Gedichts, Gedichte
        postcard: die Postkarte, Postkarte, Postkarten
        message: die Nachricht, Nachricht, Nachrichten
        text: der Text, Textes, Texte
        contract: der Vertrag, Vertrags, Verträge
        bill: die Rechnung, Rechnung, Rechnungen
    """,
    "story": """
        story: die Geschichte, Geschichte, Geschichten
        film: der Film, Films, Filme
        song: das Lied, Liedes, Lieder
        play: das Theaterstück, Theaterstücks, Theaterstücke
        fairy_tale: das Märchen, Märchens, Märchen
    """,
    "picture": """
        picture: das Bild, Bildes, Bilder
        photo: das Foto, Fotos, Fotos
        drawing: die Zeichnung, Zeichnung, Zeichnungen
        map: die Landkarte, Landkarte, Landkarten
        calendar: der Kalender, Kalenders, Kalender
    """,
    "food": """
        apple: der Apfel, Apfels, Äpfel
        pear: die Birne, Birne, Birnen
        plum: die Pflaume, Pflaume, Pflaumen
        cherry: die Kirsche, Kirsche, Kirschen
        orange: die Orange, Orange, Orangen
        banana: die Banane, Banane, Bananen
        egg: das Ei, Eies, Eier
        sausage: die Wurst, Wurst, Würste
        potato: die Kartoffel, Kartoffel, Kartoffeln
        tomato: die Tomate, Tomate, Tomaten
        carrot: die Karotte, Karotte, Karotten
        onion: die Zwiebel, Zwiebel, Zwiebeln
        mushroom: der Pilz, Pilzes, Pilze
        fish/fish: der Fisch, Fisches, Fische
    """,
    "dish": """
        cake: der Kuchen, Kuchens, Kuchen
        soup: die Suppe, Suppe, Suppen
        salad: der Salat, Salats, Salate
        roll: das Brötchen, Brötchens, Brötchen
        biscuit: der Keks, Kekses, Kekse
        pancake: der Pfannkuchen, Pfannkuchens, Pfannkuchen
    """,
    "mass food": """
        bread~: das Brot, Brotes, Brote
        cheese~: der Käse, Käses, Käse
        meat~: das Fleisch, Fleisches, Fleisch
        rice~: der Reis, Reises, Reis
        honey~: der Honig, Honigs, Honig
        chocolate~: die Schokolade, Schokolade, Schokoladen
        fruit~: das Obst, Obstes, Obst
        butter~: die Butter, Butter, Butter
        jam~: die Marmelade, Marmelade, Marmeladen
        vegetables*~: das Gemüse, Gemüses, Gemüse
    """,
    "drink": """
        water~: das Wasser, Wassers, Wasser
        milk~: die Milch, Milch, Milch
        coffee~: der Kaffee, Kaffees, Kaffee
        tea~: der Tee, Tees, Tees
        wine~: der Wein, Weins, Weine
        beer~: das Bier, Bieres, Biere
        juice~: der Saft, Saftes, Säfte
        cocoa~: der Kakao, Kakaos, Kakao
    """,
    "clothes": """
        coat: der Mantel, Mantels, Mäntel
        raincoat: der Regenmantel, Regenmantels, Regenmäntel
        swimming_trunks*: die Badehose, Badehose, Badehosen
        shirt: das Hemd, Hemdes, Hemden
        dress: das Kleid, Kleides, Kleider
        skirt: der Rock, Rockes, Röcke
        jacket: die Jacke, Jacke, Jacken
        hat: der Hut, Hutes, Hüte
        cap: die Mütze, Mütze, Mützen
        scarf/scarves: der Schal, Schals, Schals
        sweater: der Pullover, Pullovers, Pullover
        blouse: die Bluse, Bluse, Blusen
        tie: die Krawatte, Krawatte, Krawatten
        suit: der Anzug, Anzugs, Anzüge
        belt: der Gürtel, Gürtels, Gürtel
        trousers*: die Hose, Hose, Hosen
        shoe: der Schuh, Schuhs, Schuhe
        boot: der Stiefel, Stiefels, Stiefel
        glove: der Handschuh, Handschuhs, Handschuhe
        sock: die Socke, Socke, Socken
    """,
    "furniture": """
        table: der Tisch, Tisches, Tische
        chair: der Stuhl, Stuhls, Stühle
        cupboard: der Schrank, Schranks, Schränke
        lamp: die Lampe, Lampe, Lampen
        sofa: das Sofa, Sofas, Sofas
        shelf/shelves: das Regal, Regals, Regale
        bed: das Bett, Bettes, Betten
        armchair: der Sessel, Sessels, Sessel
        mirror: der Spiegel, Spiegels, Spiegel
        carpet: der Teppich, Teppichs, Teppiche
        desk: der Schreibtisch, Schreibtischs, Schreibtische
        clock: die Uhr, Uhr, Uhren
        bench: die Bank, Bank, Bänke
    """,
    "household": """
        cup: die Tasse, Tasse, Tassen
        plate: der Teller, Tellers, Teller
        glass: das Glas, Glases, Gläser
        bowl: die Schüssel, Schüssel, Schüsseln
        knife/knives: das Messer, Messers, Messer
        fork: die Gabel, Gabel, Gabeln
        spoon: der Löffel, Löffels, Löffel
        pot: der Topf, Topfes, Töpfe
        pan: die Pfanne, Pfanne, Pfannen
        bottle: die Flasche, Flasche, Flaschen
        vase: die Vase, Vase, Vasen
        candle: die Kerze, Kerze, Kerzen
        towel: das Handtuch, Handtuchs, Handtücher
        blanket: die Decke, Decke, Decken
        pillow: das Kissen, Kissens, Kissen
        bucket: der Eimer, Eimers, Eimer
        ladder: die Leiter, Leiter, Leitern
        hammer: der Hammer, Hammers, Hämmer
    """,
    "belonging": """
        bag: die Tasche, Tasche, Taschen
        suitcase: der Koffer, Koffers, Koffer
        key: der Schlüssel, Schlüssels, Schlüssel
        umbrella: der Regenschirm, Regenschirms, Regenschirme
        ring: der Ring, Rings, Ringe
        ball: der Ball, Balles, Bälle
        ticket: die Fahrkarte, Fahrkarte, Fahrkarten
        spectacles*: die Brille, Brille, Brillen
        sunglasses*: die Sonnenbrille, Sonnenbrille, Sonnenbrillen
        parasol: der Sonnenschirm, Sonnenschirms, Sonnenschirme
        present: das Geschenk, Geschenks, Geschenke
        parcel: das Paket, Pakets, Pakete
    """,
    "container": """
        basket: der Korb, Korbes, Körbe
        box: die Kiste, Kiste, Kisten
        drawer: die Schublade, Schublade, Schubladen
    """,
    "device": """
        camera: die Kamera, Kamera, Kameras
        computer: der Computer, Computers, Computer
        telephone: das Telefon, Telefons, Telefone
        radio: das Radio, Radios, Radios
        television: der Fernseher, Fernsehers, Fernseher
        printer: der Drucker, Druckers, Drucker
        washing_machine: die Waschmaschine, Waschmaschine, Waschmaschinen
        fridge: der Kühlschrank, Kühlschranks, Kühlschränke
        oven: der Ofen, Ofens, Öfen
        heater: die Heizung, Heizung, Heizungen
    """,
    "instrument": """
        piano: das Klavier, Klaviers, Klaviere
        guitar: die Gitarre, Gitarre, Gitarren
        violin: die Geige, Geige, Geigen
        trumpet: die Trompete, Trompete, Trompeten
        flute: die Flöte, Flöte, Flöten
    """,
    "vehicle": """
        car: das Auto, Autos, Autos
        bicycle: das Fahrrad, Fahrrads, Fahrräder
        motorcycle: das Motorrad, Motorrads, Motorräder
        boat: das Boot, Bootes, Boote
        lorry: der Lastwagen, Lastwagens, Lastwagen
    """,
    "public transport": """
        bus: der Bus, Busses, Busse
        train: der Zug, Zuges, Züge
        ship: das Schiff, Schiffes, Schiffe
        plane: das Flugzeug, Flugzeugs, Flugzeuge
        tram: die Straßenbahn, Straßenbahn, Straßenbahnen
        taxi: das Taxi, Taxis, Taxis
    """,
    "building": """
        house: das Haus, Hauses, Häuser
        school: die Schule, Schule, Schulen
        church: die Kirche, Kirche, Kirchen
        museum: das Museum, Museums, Museen
        library: die Bibliothek, Bibliothek, Bibliotheken
        hospital: das Krankenhaus, Krankenhauses, Krankenhäuser
        hotel: das Hotel, Hotels, Hotels
        theatre: das Theater, Theaters, Theater
        restaurant: das Restaurant, Restaurants, Restaurants
        factory: die Fabrik, Fabrik, Fabriken
        castle: das Schloss, Schlosses, Schlösser
        town_hall: das Rathaus, Rathauses, Rathäuser
        station: der Bahnhof, Bahnhofs, Bahnhöfe
        stadium: das Stadion, Stadions, Stadien
        university: die Universität, Universität, Universitäten
        cinema: das Kino, Kinos, Kinos
        bank: die Bank, Bank, Banken
        bakery: die Bäckerei, Bäckerei, Bäckereien
        pharmacy: die Apotheke, Apotheke, Apotheken
        supermarket: der Supermarkt, Supermarkts, Supermärkte
        café: das Café, Cafés, Cafés
        swimming_pool: das Schwimmbad, Schwimmbads, Schwimmbäder
        airport: der Flughafen, Flughafens, Flughäfen
        farm: der Bauernhof, Bauernhofs, Bauernhöfe
        flat: die Wohnung, Wohnung, Wohnungen
    """,
    "structure": """
        bridge: die Brücke, Brücke, Brücken
        tower: der Turm, Turmes, Türme
    """,
    "room": """
        kitchen: die Küche, Küche, Küchen
        bathroom: das Badezimmer, Badezimmers, Badezimmer
        living_room: das Wohnzimmer, Wohnzimmers, Wohnzimmer
        bedroom: das Schlafzimmer, Schlafzimmers, Schlafzimmer
        study: das Arbeitszimmer, Arbeitszimmers, Arbeitszimmer
        classroom: das Klassenzimmer, Klassenzimmers, Klassenzimmer
        cellar: der Keller, Kellers, Keller
        garage: die Garage, Garage, Garagen
        office: das Büro, Büros, Büros
        room: das Zimmer, Zimmers, Zimmer
        balcony: der Balkon, Balkons, Balkone
    """,
    "outdoors": """
        garden: der Garten, Gartens, Gärten
        park: der Park, Parks, Parks
        forest: der Wald, Waldes, Wälder
        lake: der See, Sees, Seen
        river: der Fluss, Flusses, Flüsse
        beach: der Strand, Strandes, Strände
        mountain: der Berg, Berges, Berge
        island: die Insel, Insel, Inseln
        field: das Feld, Feldes, Felder
        village: das Dorf, Dorfes, Dörfer
        town: die Stadt, Stadt, Städte
        street: die Straße, Straße, Straßen
        market: der Markt, Marktes, Märkte
        harbour: der Hafen, Hafens, Häfen
        zoo: der Zoo, Zoos, Zoos
    """,
    "part": """
        door: die Tür, Tür, Türen
        window: das Fenster, Fensters, Fenster
        gate: das Tor, Tores, Tore
        wall: die Wand, Wand, Wände
        roof: das Dach, Daches, Dächer
        floor: der Boden, Bodens, Böden
        entrance: der Eingang, Eingangs, Eingänge
    """,
    "event": """
        party/parties: die Party, Party, Partys
        concert: das Konzert, Konzerts, Konzerte
        exam: die Prüfung, Prüfung, Prüfungen
        meeting: die Besprechung, Besprechung, Besprechungen
        wedding: die Hochzeit, Hochzeit, Hochzeiten
        match: das Spiel, Spiels, Spiele
        trip: die Reise, Reise, Reisen
        course: der Kurs, Kurses, Kurse
        performance: die Vorstellung, Vorstellung, Vorstellungen
        lecture: die Vorlesung, Vorlesung, Vorlesungen
        lesson: die Stunde, Stunde, Stunden
        exhibition: die Ausstellung, Ausstellung, Ausstellungen
        festival: das Fest, Festes, Feste
        conference: die Konferenz, Konferenz, Konferenzen
    """,
    "abstract": """
        question: die Frage, Frage, Fragen
        answer: die Antwort, Antwort, Antworten
        problem: das Problem, Problems, Probleme
        idea: die Idee, Idee, Ideen
        plan: der Plan, Plans, Pläne
        mistake: der Fehler, Fehlers, Fehler
        rule: die Regel, Regel, Regeln
        word: das Wort, Wortes, Wörter
        task: die Aufgabe, Aufgabe, Aufgaben
        decision: die Entscheidung, Entscheidung, Entscheidungen
        secret: das Geheimnis, Geheimnisses, Geheimnisse
        language: die Sprache, Sprache, Sprachen
    """,
    "plant": """
        tree: der Baum, Baumes, Bäume
        flower: die Blume, Blume, Blumen
        sunflower: die Sonnenblume, Sonnenblume, Sonnenblumen
        rose: die Rose, Rose, Rosen
        bush: der Busch, Busches, Büsche
    """,
    # Only named by templates.
    "other": """
        weather~: das Wetter, Wetters, Wetter
        birthday: der Geburtstag, Geburtstags, Geburtstage
        bus_stop: die Bushaltestelle, Bushaltestelle, Bushaltestellen
        corner: die Ecke, Ecke, Ecken
        music~: die Musik, Musik, Musik
    """,
}
_GENDERS = {"der": "m", "die": "f", "das": "n"}


def _parse(row: str, kind: str) -> Noun:
    left, right = row.split(": ")
    article, _, rest = right.partition(" ")
    singular, genitive, plural, *feminine = rest.split(", ")
    word = left.rstrip("~*+")
    marks = left[len(word) :]
    word, _, english_plural = word.replace("_", " ").partition("/")
    only_plural = "*" in marks or "+" in marks
    base_kind, _, sex = kind.partition(" ") if kind.endswith((" m", " f")) else (kind, "", "")
    return Noun(
        english=word,
        english_plural=english_plural or (word if only_plural else english.plural(word)),
        german=GermanNoun(singular, _GENDERS[article], genitive, plural),
        kind=base_kind,
        mass="~" in marks,
        english_always_plural="*" in marks,
        always_plural="+" in marks,
        sex=sex,
        feminine=GermanNoun(feminine[0], "f", feminine[0], feminine[0] + ("n" if feminine[0][-1] == "e" else "nen"))
        if feminine
        else None,
        head=word,
    )


NOUNS: Dict[str, Noun] = {}
BY_KIND: Dict[str, List[Noun]] = {}
for _kind, _rows in _ROWS.items():
    for _row in _rows.strip().splitlines():
        _noun = _parse(_row.strip(), _kind)
        # "bank" and "children" stand twice; the first of each has the name for itself.
        NOUNS.setdefault(_noun.english, _noun)
        BY_KIND.setdefault(_noun.kind, []).append(_noun)


def feminine(noun: Noun) -> Noun:
    """The noun for a woman: Lehrer -> Lehrerin, and so for its compounds."""
    return noun._replace(german=noun.feminine, sex="f")


def masculine(noun: Noun) -> Noun:
    """The noun for a man, where a pronoun shows the sex."""
    return noun._replace(sex="m")
