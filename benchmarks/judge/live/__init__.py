"""Real rollouts on a cluster, most of models that are bad in a known way: is each judged rightly, and how soon?"""
