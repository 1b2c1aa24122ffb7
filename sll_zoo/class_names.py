"""Names of classes that data modules and the zoo share; here, since registering models must not import torchvision."""

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

CIFAR100_CLASSES = (
    "apple",
    "aquarium_fish",
    "baby",
    "bear",
    "beaver",
    "bed",
    "bee",
    "beetle",
    "bicycle",
    "bottle",
    "bowl",
    "boy",
    "bridge",
    "bus",
    "butterfly",
    "camel",
    "can",
    "castle",
    "caterpillar",
    "cattle",
    "chair",
    "chimpanzee",
    "clock",
    "cloud",
    "cockroach",
    "couch",
    "crab",
    "crocodile",
    "cup",
    "dinosaur",
    "dolphin",
    "elephant",
    "flatfish",
    "forest",
    "fox",
    "girl",
    "hamster",
    "house",
    "kangaroo",
    "keyboard",
    "lamp",
    "lawn_mower",
    "leopard",
    "lion",
    "lizard",
    "lobster",
    "man",
    "maple_tree",
    "motorcycle",
    "mountain",
    "mouse",
    "mushroom",
    "oak_tree",
    "orange",
    "orchid",
    "otter",
    "palm_tree",
    "pear",
    "pickup_truck",
    "pine_tree",
    "plain",
    "plate",
    "poppy",
    "porcupine",
    "possum",
    "rabbit",
    "raccoon",
    "ray",
    "road",
    "rocket",
    "rose",
    "sea",
    "seal",
    "shark",
    "shrew",
    "skunk",
    "skyscraper",
    "snail",
    "snake",
    "spider",
    "squirrel",
    "streetcar",
    "sunflower",
    "sweet_pepper",
    "table",
    "tank",
    "telephone",
    "television",
    "tiger",
    "tractor",
    "train",
    "trout",
    "tulip",
    "turtle",
    "wardrobe",
    "whale",
    "willow_tree",
    "wolf",
    "woman",
    "worm",
)

# The signs of the German Traffic Sign Recognition Benchmark, by number; lorries are vehicles above 3.5 tonnes.
TRAFFIC_SIGNS = (
    "speed limit 20 km/h",
    "speed limit 30 km/h",
    "speed limit 50 km/h",
    "speed limit 60 km/h",
    "speed limit 70 km/h",
    "speed limit 80 km/h",
    "end of speed limit 80 km/h",
    "speed limit 100 km/h",
    "speed limit 120 km/h",
    "no overtaking",
    "no overtaking by lorries",
    "right of way at the next crossing",
    "priority road",
    "give way",
    "stop",
    "no vehicles",
    "no lorries",
    "no entry",
    "danger",
    "bend to the left",
    "bend to the right",
    "double bend",
    "uneven road",
    "slippery road",
    "road narrows on the right",
    "road works",
    "traffic lights",
    "pedestrians",
    "children",
    "cyclists",
    "snow or ice",
    "wild animals",
    "end of all limits",
    "right turn ahead",
    "left turn ahead",
    "straight ahead",
    "straight ahead or right",
    "straight ahead or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no overtaking",
    "end of no overtaking by lorries",
)

# In the order of their WordNet numbers, as the archive's words.txt names them.
_TINY_IMAGENET = (
    "goldfish, Carassius auratus; European fire salamander, Salamandra salamandra; bullfrog, Rana catesbeiana; tailed frog, "
    "bell toad, ribbed toad, tailed toad, Ascaphus trui; American alligator, Alligator mississipiensis; boa constrictor, "
    "Constrictor constrictor; trilobite; scorpion; black widow, Latrodectus mactans; tarantula; centipede; goose; koala, "
    "koala bear, kangaroo bear, native bear, Phascolarctos cinereus; jellyfish; brain coral; snail; slug; sea slug, "
    "nudibranch; American lobster, Northern lobster, Maine lobster, Homarus americanus; spiny lobster, langouste, rock "
    "lobster, crawfish, crayfish, sea crawfish; black stork, Ciconia nigra; king penguin, Aptenodytes patagonica; "
    "albatross, mollymawk; dugong, Dugong dugon; Chihuahua; Yorkshire terrier; golden retriever; Labrador retriever; German "
    "shepherd, German shepherd dog, German police dog, alsatian; standard poodle; tabby, tabby cat; Persian cat; Egyptian "
    "cat; cougar, puma, catamount, mountain lion, painter, panther, Felis concolor; lion, king of beasts, Panthera leo; "
    "brown bear, bruin, Ursus arctos; ladybug, ladybeetle, lady beetle, ladybird, ladybird beetle; fly; bee; grasshopper, "
    "hopper; walking stick, walkingstick, stick insect; cockroach, roach; mantis, mantid; dragonfly, darning needle, "
    "devil's darning needle, sewing needle, snake feeder, snake doctor, mosquito hawk, skeeter hawk; monarch, monarch "
    "butterfly, milkweed butterfly, Danaus plexippus; sulphur butterfly, sulfur butterfly; sea cucumber, holothurian; "
    "guinea pig, Cavia cobaya; hog, pig, grunter, squealer, Sus scrofa; ox; bison; bighorn, bighorn sheep, cimarron, Rocky "
    "Mountain bighorn, Rocky Mountain sheep, Ovis canadensis; gazelle; Arabian camel, dromedary, Camelus dromedarius; "
    "orangutan, orang, orangutang, Pongo pygmaeus; chimpanzee, chimp, Pan troglodytes; baboon; African elephant, Loxodonta "
    "africana; lesser panda, red panda, panda, bear cat, cat bear, Ailurus fulgens; abacus; academic gown, academic robe, "
    "judge's robe; altar; apron; backpack, back pack, knapsack, packsack, rucksack, haversack; bannister, banister, "
    "balustrade, balusters, handrail; barbershop; barn; barrel, cask; basketball; bathtub, bathing tub, bath, tub; beach "
    "wagon, station wagon, wagon, estate car, beach waggon, station waggon, waggon; beacon, lighthouse, beacon light, "
    "pharos; beaker; beer bottle; bikini, two-piece; binoculars, field glasses, opera glasses; birdhouse; bow tie, bow-tie, "
    "bowtie; brass, memorial tablet, plaque; broom; bucket, pail; bullet train, bullet; butcher shop, meat market; candle, "
    "taper, wax light; cannon; cardigan; cash machine, cash dispenser, automated teller machine, automatic teller machine, "
    "automated teller, automatic teller, ATM; CD player; chain; chest; Christmas stocking; cliff dwelling; computer "
    "keyboard, keypad; confectionery, confectionary, candy store; convertible; crane; dam, dike, dyke; desk; dining table, "
    "board; drumstick; dumbbell; flagpole, flagstaff; fountain; freight car; frying pan, frypan, skillet; fur coat; "
    "gasmask, respirator, gas helmet; go-kart; gondola; hourglass; iPod; jinrikisha, ricksha, rickshaw; kimono; lampshade, "
    "lamp shade; lawn mower, mower; lifeboat; limousine, limo; magnetic compass; maypole; military uniform; miniskirt, "
    "mini; moving van; nail; neck brace; obelisk; oboe, hautboy, hautbois; organ, pipe organ; parking meter; pay-phone, "
    "pay-station; picket fence, paling; pill bottle; plunger, plumber's helper; pole; police van, police wagon, paddy "
    "wagon, patrol wagon, wagon, black Maria; poncho; pop bottle, soda bottle; potter's wheel; projectile, missile; "
    "punching bag, punch bag, punching ball, punchball; reel; refrigerator, icebox; remote control, remote; rocking chair, "
    "rocker; rugby ball; sandal; school bus; scoreboard; sewing machine; snorkel; sock; sombrero; space heater; spider web, "
    "spider's web; sports car, sport car; steel arch bridge; stopwatch, stop watch; sunglasses, dark glasses, shades; "
    "suspension bridge; swimming trunks, bathing trunks; syringe; teapot; teddy, teddy bear; thatch, thatched roof; torch; "
    "tractor; triumphal arch; trolleybus, trolley coach, trackless trolley; turnstile; umbrella; vestment; viaduct; "
    "volleyball; water jug; water tower; wok; wooden spoon; comic book; plate; guacamole; ice cream, icecream; ice lolly, "
    "lolly, lollipop, popsicle; pretzel; mashed potato; cauliflower; bell pepper; mushroom; orange; lemon; banana; "
    "pomegranate; meat loaf, meatloaf; pizza, pizza pie; potpie; espresso; alp; cliff, drop, drop-off; coral reef; "
    "lakeside, lakeshore; seashore, coast, seacoast, sea-coast; acorn"
)
TINY_IMAGENET_CLASSES = tuple(_TINY_IMAGENET.split("; "))
