"""What did the package bring?"""
